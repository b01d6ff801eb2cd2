"""The overlays follow the rules of KubeRay's and Kueue's controllers, and each rule catches its violation."""

import tomllib
from collections.abc import Callable
from typing import Any

import pytest
from kuberay_rules import ELASTIC, RAY_VERSION, findings
from manifests import OVERLAYS, ROOT, Object, cluster_spec, named, render


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_overlays_keep_every_rule(overlay: str) -> None:
    assert findings(render(overlay)) == []


def test_the_ray_version_is_the_one_that_the_image_installs() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert any(f"ray[default,train,serve,data]=={RAY_VERSION}" == pin for pin in project["dependencies"])


def job(objects: list[Object]) -> Any:
    return named(objects, "RayJob")


def cluster(objects: list[Object]) -> Any:
    return cluster_spec(named(objects, "RayCluster"))


def set_in(*path: Any, to: Any) -> Callable[[Any], None]:
    """A change of one value at a path of keys."""

    def change(value: Any) -> None:
        for key in path[:-1]:
            value = value[key]
        value[path[-1]] = to

    return change


Target = Callable[[list[Object]], Any]
HEAD_ENV = ("headGroupSpec", "template", "spec", "containers", 0, "env")


@pytest.mark.parametrize(
    ("target", "change", "expected"),
    [
        (job, set_in("metadata", "name", to="stillery-" + "x" * 39), "at most 47"),
        (job, set_in("metadata", "name", to="Distill"), "no DNS label"),
        (job, set_in("spec", "submissionMode", to="SidecarMode"), "SidecarMode takes no submitter"),
        (job, set_in("spec", "submissionMode", to="InteractiveMode"), "InteractiveMode cannot retry"),
        (job, set_in("spec", "shutdownAfterJobFinishes", to=False), "Kueue needs shutdownAfterJobFinishes"),
        (job, set_in("spec", "deletionStrategy", to={"deletionRules": []}), "deletionRules excludes"),
        (job, set_in("spec", "clusterSelector", to={"ray.io/cluster": "x"}), "clusterSelector excludes"),
        (job, set_in("spec", "activeDeadlineSeconds", to=0), "activeDeadlineSeconds must be"),
        (job, set_in("metadata", "annotations", to={}), f"only with the annotation {ELASTIC}"),
        (job, set_in("metadata", "labels", "kueue.x-k8s.io/queue-name", to="other"), "no local queue other"),
        (cluster, set_in("rayVersion", to="2.51.0"), "rayVersion is 2.51.0"),
        (cluster, set_in("authOptions", to={"mode": "disabled"}), "must be token authentication"),
        (cluster, set_in("authOptions", "enableK8sTokenAuth", to=True), "enableK8sTokenAuth"),
        (cluster, set_in("networkPolicy", to={"mode": "DenyAll"}), "networkPolicy needs a feature gate"),
        (cluster, set_in("headGroupSpec", "rayStartParams", "labels", to="a=b"), "labels belong into the field"),
        (cluster, set_in("headGroupSpec", "resources", to={"CPU": "0"}), "resources are set both"),
        (cluster, set_in("workerGroupSpecs", 0, "groupName", to="teacher"), "two worker groups are named teacher"),
        (cluster, set_in("workerGroupSpecs", 0, "replicas", to=99), "replicas must lie between"),
        (cluster, set_in("workerGroupSpecs", 0, "suspend", to=True), "cannot be suspended"),
        (
            cluster,
            set_in("workerGroupSpecs", 0, "template", "spec", "restartPolicy", to="Always"),
            "restartPolicy must be Never",
        ),
        (cluster, set_in("autoscalerOptions", "version", to="v1"), "version must be v2"),
        (cluster, set_in(*HEAD_ENV, to=[{"name": "RAY_enable_autoscaler_v2", "value": "1"}]), "exclude each other"),
        (cluster, set_in(*HEAD_ENV, to=[{"name": "REDIS_PASSWORD", "value": ""}]), "in the head's environment"),
        (cluster, set_in("gcsFaultToleranceOptions", "backend", to="rocksdb"), "only Redis"),
        (cluster, set_in("gcsFaultToleranceOptions", "redisPassword", to={"value": "x"}), "must come from a Secret"),
        (
            lambda o: named(o, "RayService"),
            set_in("spec", "upgradeStrategy", "type", to="NewCluster"),
            "second cluster",
        ),
        (
            lambda o: named(o, "ClusterQueue")["spec"]["resourceGroups"][0],
            set_in("coveredResources", to=["cpu"]),
            "must give a quota",
        ),
        (lambda o: named(o, "ResourceFlavor", "stillery-cpu"), set_in("metadata", "name", to="other"), "no flavor"),
        (
            lambda o: named(o, "PodDisruptionBudget", "stillery-job-head"),
            set_in("spec", to={"maxUnavailable": 1, "selector": {"matchLabels": {"ray.io/node-type": "head"}}}),
            "whole minAvailable",
        ),
    ],
)
def test_a_planted_violation_is_caught(target: Target, change: Callable[[Any], None], expected: str) -> None:
    objects = render("multi-tenant")
    change(target(objects))
    assert any(expected in finding for finding in findings(objects)), findings(objects)
