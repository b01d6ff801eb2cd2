"""Every pod fits the restricted profile, declares its resources, and contains no secret in plain text."""

from collections.abc import Callable
from typing import Any

import pytest
from manifests import OVERLAYS, ROOT, Object, cluster_spec, named, pods_of, render
from pod_rules import SECRET_VALUE, findings


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_overlays_keep_every_rule(overlay: str) -> None:
    objects = render(overlay)
    assert len(list(pods_of(objects))) >= 9
    assert findings(objects) == []


def test_nothing_secret_is_in_any_file() -> None:
    files = [p for folder in ("k8s", "jobs", "serving") for p in (ROOT / folder).rglob("*") if p.is_file()]
    assert len(files) > 20
    assert [p.name for p in files if p.suffix != ".pyc" and SECRET_VALUE.search(p.read_text())] == []


def mlflow(objects: list[Object]) -> Any:
    return named(objects, "Deployment", "stillery-mlflow")["spec"]["template"]["spec"]


def worker(objects: list[Object]) -> Any:
    return cluster_spec(named(objects, "RayJob"))["workerGroupSpecs"][1]["template"]["spec"]


def run_as_root(objects: list[Object]) -> None:
    mlflow(objects)["securityContext"]["runAsUser"] = 0


def host_path(objects: list[Object]) -> None:
    worker(objects)["volumes"].append({"name": "disk", "hostPath": {"path": "/"}})


def host_network(objects: list[Object]) -> None:
    worker(objects)["hostNetwork"] = True


def keep_capabilities(objects: list[Object]) -> None:
    worker(objects)["containers"][0]["securityContext"]["capabilities"] = {"drop": ["ALL"], "add": ["SYS_ADMIN"]}


def open_the_autoscaler(objects: list[Object]) -> None:
    del cluster_spec(named(objects, "RayService"))["autoscalerOptions"]["securityContext"]


def default_submitter(objects: list[Object]) -> None:
    del named(objects, "RayJob")["spec"]["submitterPodTemplate"]["spec"]["containers"][0]["securityContext"]


def mount_a_token(objects: list[Object]) -> None:
    del worker(objects)["automountServiceAccountToken"]


def no_limits(objects: list[Object]) -> None:
    del mlflow(objects)["containers"][0]["resources"]["limits"]


def unequal_gpus(objects: list[Object]) -> None:
    worker(objects)["containers"][0]["resources"]["requests"]["nvidia.com/gpu"] = "2"


def latest_image(objects: list[Object]) -> None:
    mlflow(objects)["containers"][0]["image"] = "registry.example.com/stillery"


def no_probe(objects: list[Object]) -> None:
    del mlflow(objects)["containers"][0]["readinessProbe"]


def inline_password(objects: list[Object]) -> None:
    mlflow(objects)["containers"][0]["env"] = [{"name": "DATABASE_PASSWORD", "value": "hunter2"}]


def inline_key(objects: list[Object]) -> None:
    named(objects, "RayJob")["spec"]["runtimeEnvYAML"] = "env_vars: {A: sk-0123456789abcdefghij}"


def password_in_an_address(objects: list[Object]) -> None:
    mlflow(objects)["containers"][0]["command"].append("--backend-store-uri=postgresql://stillery:geheim@db/mlflow")


def a_secret(objects: list[Object]) -> None:
    objects.append({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "x"}, "data": {"a": "YQ=="}})


def loose_namespace(objects: list[Object]) -> None:
    named(objects, "Namespace")["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] = "baseline"


@pytest.mark.parametrize(
    ("plant", "expected"),
    [
        (run_as_root, "not root"),
        (host_path, "volume disk is a hostPath"),
        (host_network, "hostNetwork is not allowed"),
        (keep_capabilities, "keeps capabilities"),
        (open_the_autoscaler, "autoscaler may gain privileges"),
        (default_submitter, "submitter may gain privileges"),
        (mount_a_token, "no token of it"),
        (no_limits, "no limits for cpu and memory"),
        (unequal_gpus, "requests and limits must be equal"),
        (latest_image, "is not pinned"),
        (no_probe, "no readinessProbe"),
        (inline_password, "DATABASE_PASSWORD is written out"),
        (inline_key, "looks like a secret"),
        (password_in_an_address, "looks like a secret"),
        (a_secret, "made by hand"),
        (loose_namespace, "does not enforce"),
    ],
)
def test_a_planted_fault_is_caught(plant: Callable[[list[Object]], None], expected: str) -> None:
    objects = render("gpu")
    plant(objects)
    found = findings(objects)
    assert any(expected in finding for finding in found), found
    # Without a security context, privileges and capabilities are missed at once.
    assert all(expected in finding or "keeps capabilities" in finding for finding in found), found
