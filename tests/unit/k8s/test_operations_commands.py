"""The commands of docs/guides/operations.md name existing options, paths, parts of overlays and Services."""

import re
import shlex

import pytest
from manifests import OVERLAYS, ROOT, Object, label_of, render

from stillery.cli.main import parse_arguments

PART = "app.kubernetes.io/component"
# Services that KubeRay makes, by the object that it makes them for.
MADE_BY_KUBERAY = {"RayCluster": ("head-svc",), "RayService": ("head-svc", "serve-svc")}


def commands() -> list[str]:
    """Every line of every block of code, continued lines joined, without comments and output."""
    text = (ROOT / "docs" / "guides" / "operations.md").read_text()
    blocks = re.findall(r"^```\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)
    blocks += re.findall(r"(?:^    .*\n)+", text, flags=re.MULTILINE)
    lines = [line.strip() for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    known = ("kubectl ", "helm ", "stillery ", "docker ", "ray ", "python ", "make ")
    return [line for line in lines if line.startswith(known)]


def words(command: str) -> list[str]:
    return shlex.split(command.partition("|")[0], comments=True)


def of_program(name: str) -> list[list[str]]:
    found = [words(command)[1:] for command in commands() if command.startswith(name + " ")]
    assert found
    return found


def test_commands_of_our_own_have_these_options(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in of_program("stillery"):
        try:
            parse_arguments(arguments)
        except SystemExit:
            pytest.fail(f"stillery {shlex.join(arguments)}: {capsys.readouterr().err}")


def test_scripts_and_overlays_that_are_named_exist() -> None:
    for arguments in [*of_program("python"), *of_program("ray")]:
        for word in arguments:
            assert not word.endswith(".py") or (ROOT / word).is_file(), word
    for arguments in of_program("kubectl"):
        if "-k" in arguments and "://" not in (folder := arguments[arguments.index("-k") + 1]):
            assert folder.startswith("github.com/") or (ROOT / folder / "kustomization.yaml").is_file(), folder


def test_the_parts_that_are_applied_and_deleted_hold_something() -> None:
    parts = {name for overlay in OVERLAYS for obj in render(overlay) for name in [obj["metadata"]["labels"][PART]]}
    text = (ROOT / "docs" / "guides" / "operations.md").read_text()
    named_parts = set(re.findall(rf"-l '?{re.escape(PART)}=([a-z]+)", text))
    for several in re.findall(rf"-l '{re.escape(PART)} in \(([^)]*)\)'", text):
        named_parts |= set(several.split(", "))
    assert named_parts == parts


def test_every_object_has_its_part() -> None:
    for overlay in OVERLAYS:
        assert [label_of(obj) for obj in render(overlay) if PART not in obj["metadata"].get("labels", {})] == []


def services(objects: list[Object]) -> set[str]:
    found = {obj["metadata"]["name"] for obj in objects if obj["kind"] == "Service"}
    for obj in objects:
        found |= {f"{obj['metadata']['name']}-{suffix}" for suffix in MADE_BY_KUBERAY.get(obj["kind"], ())}
    return found


def test_ports_are_forwarded_from_services_that_there_are() -> None:
    forwarded = [a for arguments in of_program("kubectl") for a in arguments if a.startswith("service/")]
    assert len(forwarded) >= 3
    assert {name.removeprefix("service/") for name in forwarded} <= services(render("gpu"))
