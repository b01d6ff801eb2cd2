"""The rendered overlays, and traversals of them shared by several tests."""

import functools
import shutil
import subprocess
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[3]
OVERLAYS = ("cpu", "gpu", "multi-tenant")
Object = dict[str, Any]

# Where each of KubeRay's kinds holds the description of its Ray cluster.
CLUSTER_SPEC = {"RayCluster": None, "RayJob": "rayClusterSpec", "RayService": "rayClusterConfig"}


def render(overlay: str) -> list[Object]:
    """The objects of an overlay, as `kubectl apply -k` would send them; a copy that the caller may change.

    Skips the calling test where there is no kubectl.
    """
    if shutil.which("kubectl") is None:
        pytest.skip("needs kubectl, which renders kustomize overlays")
    return deepcopy(_rendered(overlay))


@functools.cache
def _rendered(overlay: str) -> list[Object]:
    command = ["kubectl", "kustomize", str(ROOT / "k8s" / "overlays" / overlay)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return list(yaml.safe_load_all(done.stdout))


def named(objects: list[Object], kind: str, name: str | None = None) -> Object:
    """The one object of a kind (and name)."""
    (found,) = [o for o in objects if o["kind"] == kind and name in (None, o["metadata"]["name"])]
    return found


def label_of(obj: Object) -> str:
    return f"{obj['kind']}/{obj['metadata']['name']}"


def cluster_spec(obj: Object) -> Object | None:
    """The RayClusterSpec that an object holds."""
    if obj["kind"] not in CLUSTER_SPEC:
        return None
    key = CLUSTER_SPEC[obj["kind"]]
    return obj["spec"] if key is None else obj["spec"][key]


@dataclass(frozen=True)
class Pod:
    """A pod template: its owner, its purpose, and the template. Ray's own containers come first in the list."""

    owner: str
    role: str
    template: Object

    @property
    def name(self) -> str:
        return f"{self.owner} ({self.role})"

    @property
    def spec(self) -> Object:
        return self.template["spec"]

    @property
    def labels(self) -> dict[str, str]:
        """The labels of its pods, including those added by KubeRay."""
        added = {"ray.io/node-type": self.role} if self.role == "head" else {}
        added |= {"ray.io/node-type": "worker"} if self.role.startswith("worker ") else {}
        return {**self.template["metadata"].get("labels", {}), **added}

    @property
    def is_ray(self) -> bool:
        return "ray.io/node-type" in self.labels

    @property
    def containers(self) -> list[Object]:
        return [*self.spec.get("initContainers", []), *self.spec["containers"]]


def pods_of(objects: list[Object]) -> Iterator[Pod]:
    """Every pod template of every object."""
    for obj in objects:
        owner, spec = label_of(obj), obj.get("spec", {})
        if obj["kind"] in ("Deployment", "StatefulSet", "Job", "DaemonSet"):
            yield Pod(owner, obj["kind"], spec["template"])
        cluster = cluster_spec(obj)
        if cluster is not None:
            yield Pod(owner, "head", cluster["headGroupSpec"]["template"])
            for group in cluster.get("workerGroupSpecs", []):
                yield Pod(owner, f"worker {group['groupName']}", group["template"])
        if "submitterPodTemplate" in spec:
            yield Pod(owner, "submitter", spec["submitterPodTemplate"])


def walk(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Every value below, with its path."""
    yield path, value
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from walk(inner, f"{path}.{key}")
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from walk(inner, f"{path}[{number}]")


def selects(selector: Object, labels: dict[str, str]) -> bool:
    """Whether a Kubernetes label selector takes these labels."""
    wanted = selector.get("matchLabels", {})
    if any(labels.get(key) != value for key, value in wanted.items()):
        return False
    for expression in selector.get("matchExpressions", []):
        assert expression["operator"] == "In", "the other operators are not used in these manifests"
        if labels.get(expression["key"]) not in expression["values"]:
            return False
    return True
