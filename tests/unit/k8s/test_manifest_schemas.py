"""The cluster's API would accept every object of every overlay, and drop none of its fields."""

from collections.abc import Callable
from pathlib import Path

import pytest
from manifest_schemas import CRD_FILES, core_errors, custom_errors, is_custom
from manifests import OVERLAYS, Object, cluster_spec, label_of, named, render

from support.shared_data import shared_data


@pytest.fixture
def crds() -> Path:
    return shared_data("../crds")


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_custom_objects_are_valid(overlay: str, crds: Path) -> None:
    objects = [obj for obj in render(overlay) if is_custom(obj)]
    assert {"RayCluster", "RayJob", "RayService"} <= {obj["kind"] for obj in objects} <= set(CRD_FILES)
    assert {label_of(obj): custom_errors(obj, crds) for obj in objects if custom_errors(obj, crds)} == {}


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_built_in_objects_are_valid(overlay: str) -> None:
    pytest.importorskip("kubernetes_validate", reason="needs kubernetes-validate, which holds Kubernetes' schemas")
    objects = [obj for obj in render(overlay) if not is_custom(obj)]
    assert len(objects) > 10
    assert {label_of(obj): core_errors(obj) for obj in objects if core_errors(obj)} == {}


def misspell_a_pod_field(objects: list[Object]) -> None:
    pod = cluster_spec(named(objects, "RayJob"))["workerGroupSpecs"][0]["template"]["spec"]
    pod["tolerationz"] = []


def misspell_an_option(objects: list[Object]) -> None:
    cluster_spec(named(objects, "RayCluster"))["autoscalerOptions"]["idleTimeoutSecond"] = 60


def number_for_a_string(objects: list[Object]) -> None:
    cluster_spec(named(objects, "RayService"))["headGroupSpec"]["rayStartParams"]["num-cpus"] = 0


def leave_out_the_head(objects: list[Object]) -> None:
    del cluster_spec(named(objects, "RayJob"))["headGroupSpec"]


def unknown_mode(objects: list[Object]) -> None:
    cluster_spec(named(objects, "RayCluster"))["authOptions"]["mode"] = "tokens"


def misspell_a_label(objects: list[Object]) -> None:
    named(objects, "RayCluster")["metadata"]["label"] = {}


@pytest.mark.parametrize(
    ("plant", "expected"),
    [
        (misspell_a_pod_field, "tolerationz"),
        (misspell_an_option, "idleTimeoutSecond"),
        (number_for_a_string, "0 is not of type 'string'"),
        (leave_out_the_head, "'headGroupSpec' is a required property"),
        (unknown_mode, "'tokens' is not one of"),
        (misspell_a_label, "'label' was unexpected"),
    ],
)
def test_a_planted_error_is_caught(plant: Callable[[list[Object]], None], expected: str, crds: Path) -> None:
    objects = render("gpu")
    plant(objects)
    found = [error for obj in objects if is_custom(obj) for error in custom_errors(obj, crds)]
    assert len(found) == 1
    assert expected in found[0]


def test_a_misspelt_field_of_a_built_in_kind_is_caught() -> None:
    pytest.importorskip("kubernetes_validate", reason="needs kubernetes-validate, which holds Kubernetes' schemas")
    objects = render("cpu")
    named(objects, "Deployment")["spec"]["template"]["spec"]["containers"][0]["livenesProbe"] = {}
    assert ["livenesProbe" in error for obj in objects if not is_custom(obj) for error in core_errors(obj)] == [True]
