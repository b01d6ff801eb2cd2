"""The network policies allow the traffic that Ray, KubeRay, MLflow, Redis and clients need, and nothing else."""

import pytest
from manifests import OVERLAYS, Object, named, pods_of, render
from network_flows import End, allowed

NAME = "kubernetes.io/metadata.name"
DNS = End({"k8s-app": "kube-dns"}, {NAME: "kube-system"})
OPERATOR = End({"app.kubernetes.io/name": "kuberay-operator"}, {NAME: "kuberay-operator"})
PROMETHEUS = End({"app": "prometheus"}, {NAME: "monitoring"})
CLIENT = End({"app": "phone"}, {NAME: "phones", "stillery.io/client": "true"})
STRANGER = End({"stillery.io/app": "ray"}, {NAME: "elsewhere"})
HUB, API, METADATA = End(ip="18.244.87.9"), End(ip="10.96.0.1"), End(ip="169.254.169.254")
# GCS, the client server, the dashboard's agent, and ports of object managers, raylets and workers, which differ.
RAYS_PORTS = (6379, 8265, 10001, 52365, 8076, 10002, 19999, 33333)


def home(objects: list[Object]) -> dict[str, str]:
    return {NAME: named(objects, "Namespace")["metadata"]["name"]}


def end(objects: list[Object], role: str) -> End:
    """A pod of the RayJob's cluster by its role, the RayJob's submitter, or a pod of MLflow's or Redis' own."""
    owner = {"mlflow": "Deployment", "redis": "StatefulSet"}.get(role, "RayJob")
    (labels,) = [p.labels for p in pods_of(objects) if p.owner.startswith(owner) and p.role in (role, owner)]
    return End(labels, home(objects))


@pytest.fixture(params=OVERLAYS)
def objects(request: pytest.FixtureRequest) -> list[Object]:
    return render(str(request.param))


def test_what_is_needed_gets_through(objects: list[Object]) -> None:
    head, worker, submitter = (end(objects, role) for role in ("head", "worker cpu", "submitter"))
    mlflow, redis = end(objects, "mlflow"), end(objects, "redis")
    needed = [(a, b, port) for a, b in ((head, worker), (worker, head), (worker, worker)) for port in RAYS_PORTS]
    needed += [(ray, store, port) for ray in (head, worker) for store, port in ((mlflow, 5000), (redis, 6379))]
    needed += [(submitter, head, 8265), (OPERATOR, head, 8265), (OPERATOR, head, 8000), (OPERATOR, worker, 8000)]
    needed += [(PROMETHEUS, pod, port) for pod in (head, worker) for port in (8080, 8000)]
    needed += [(CLIENT, worker, 8000), (worker, HUB, 443), (head, HUB, 443)]
    # The Kubernetes API as a Service, and where such a Service leads to in clusters of several makers.
    needed += [(head, API, 443), (head, End(ip="172.18.0.2"), 6443), (head, End(ip="192.168.49.2"), 8443)]
    refused = [flow for flow in needed if not allowed(objects, *flow, home=home(objects))]
    assert refused == []
    for pod in (head, worker, submitter, mlflow, redis):
        for resolver in (DNS, End(ip="169.254.20.10")):
            assert allowed(objects, pod, resolver, 53, home=home(objects), protocol="UDP")
            assert allowed(objects, pod, resolver, 53, home=home(objects))


def test_nothing_else_does(objects: list[Object]) -> None:
    head, worker, submitter = (end(objects, role) for role in ("head", "worker cpu", "submitter"))
    mlflow, redis = end(objects, "mlflow"), end(objects, "redis")
    unwanted = [(pod, METADATA, port) for pod in (head, worker, submitter, mlflow, redis) for port in (80, 443)]
    unwanted += [(STRANGER, pod, p) for pod in (head, worker, mlflow, redis) for p in (*RAYS_PORTS, 8000, 8080, 5000)]
    unwanted += [(CLIENT, head, 8265), (CLIENT, head, 6379), (PROMETHEUS, head, 8265), (OPERATOR, redis, 6379)]
    unwanted += [(submitter, redis, 6379), (submitter, mlflow, 5000), (submitter, HUB, 443), (head, submitter, 22)]
    unwanted += [(worker, API, 443), (worker, End(ip="172.18.0.2"), 6443), (worker, HUB, 80)]
    unwanted += [(store, other, port) for store in (mlflow, redis) for other, port in ((HUB, 443), (head, 6379))]
    assert [flow for flow in unwanted if allowed(objects, *flow, home=home(objects))] == []


def test_pods_that_kuberay_makes_to_clean_up_redis_reach_it() -> None:
    """They carry the head's labels, but for the kind of node."""
    objects = render("gpu")
    head = end(objects, "head")
    cleaner = End({**head.labels, "ray.io/node-type": "redis-cleanup"}, head.namespace)
    assert allowed(objects, cleaner, end(objects, "redis"), 6379, home=home(objects))


def test_a_policy_that_is_taken_away_is_missed() -> None:
    objects = [obj for obj in render("gpu") if obj["metadata"]["name"] != "stillery-stores"]
    assert not allowed(objects, end(objects, "head"), end(objects, "redis"), 6379, home=home(objects))
