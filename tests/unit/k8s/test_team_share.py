"""A team's quota covers the full growth of its manifests, and its members have the rights stated in the
documentation."""

import re
from collections import Counter
from typing import Any

import pytest
from manifests import ROOT, Object, cluster_spec, named, render

POOL = "stillery.io/pool"
UNITS = {"": 1, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40}
OPERATIONS = (ROOT / "docs" / "guides" / "operations.md").read_text()


def quantity(written: str | int) -> float:
    """Kubernetes' way of writing an amount, as far as these manifests use it."""
    number, unit = re.fullmatch(r"(\d+)(m|[MGT]i|)", str(written)).groups()  # type: ignore[union-attr]
    return int(number) / 1000 if unit == "m" else float(int(number) * UNITS[unit])


def at_most(objects: list[Object]) -> dict[str, Counter[str]]:
    """The requests of a run and the endpoint with all GPU groups full: pool to resource to amount."""
    asked: dict[str, Counter[str]] = {}
    for kind in ("RayJob", "RayService"):
        for group in cluster_spec(named(objects, kind))["workerGroupSpecs"]:  # type: ignore[index]
            spec = group["template"]["spec"]
            if POOL in spec.get("nodeSelector", {}):
                pool = asked.setdefault(spec["nodeSelector"][POOL], Counter())
                for resource, amount in spec["containers"][0]["resources"]["requests"].items():
                    pool[resource] += group["maxReplicas"] * quantity(amount)
    return asked


def shortages(objects: list[Object]) -> list[str]:
    """The quotas, including borrowing, below the maximum requests."""
    pools = {o["metadata"]["name"]: o.get("spec", {}).get("nodeLabels", {}).get(POOL) for o in objects}
    found: list[str] = []
    for flavor in named(objects, "ClusterQueue")["spec"]["resourceGroups"][0]["flavors"]:
        asked = at_most(objects).get(pools[flavor["name"]] or "", Counter())
        for resource in flavor["resources"]:
            share = quantity(resource["nominalQuota"]) + quantity(resource.get("borrowingLimit", 0))
            if share < asked[resource["name"]]:
                found.append(f"{flavor['name']}: {resource['name']}")
    return found


def test_a_run_and_the_endpoint_fit_the_teams_share_together() -> None:
    """Serving comes first: what it takes away from a training that needs all of its workers stops the training."""
    objects = render("multi-tenant")
    assert set(at_most(objects)) == {"teacher", "trainer"}
    assert shortages(objects) == []
    gpus = sum(pool["nvidia.com/gpu"] for pool in at_most(objects).values())
    assert quantity(named(objects, "ResourceQuota")["spec"]["hard"]["requests.nvidia.com/gpu"]) >= gpus


def test_a_share_that_is_too_small_is_caught() -> None:
    objects = render("multi-tenant")
    service: Any = cluster_spec(named(objects, "RayService"))
    service["workerGroupSpecs"][1]["maxReplicas"] += 1
    assert shortages(objects) == [
        f"stillery-trainer: {resource}" for resource in ("cpu", "memory", "ephemeral-storage", "nvidia.com/gpu")
    ]


def may(role: Object, verb: str, group: str, resource: str) -> bool:
    return any(
        group in rule["apiGroups"] and resource in rule["resources"] and verb in rule["verbs"] for rule in role["rules"]
    )


@pytest.mark.parametrize(
    ("command", "rights"),
    [
        ("get rayjob stillery-distill", [("get", "ray.io", "rayjobs"), ("watch", "ray.io", "rayjobs")]),
        ("logs -f job/", [("get", "batch", "jobs"), ("list", "", "pods"), ("get", "", "pods/log")]),
        ("port-forward service/", [("get", "", "services"), ("list", "", "pods"), ("create", "", "pods/portforward")]),
        ("delete rayjob", [("delete", "ray.io", "rayjobs")]),
        ("apply -k", [(verb, "ray.io", "rayjobs") for verb in ("get", "create", "patch")]),
    ],
)
def test_a_member_may_do_what_the_documentation_says(command: str, rights: list[tuple[str, str, str]]) -> None:
    assert command in OPERATIONS
    role = named(render("multi-tenant"), "Role")
    assert [right for right in rights if not may(role, *right)] == []


def test_a_member_reads_no_secrets_and_enters_no_pod() -> None:
    role = named(render("multi-tenant"), "Role")
    verbs = ("get", "list", "watch", "create")
    kinds = ("secrets", "pods/exec", "pods/attach", "pods", "serviceaccounts/token")
    allowed = {(verb, kind) for kind in kinds for verb in verbs if may(role, verb, "", kind)}
    assert allowed == {("get", "pods"), ("list", "pods"), ("watch", "pods")}
