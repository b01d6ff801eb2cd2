"""Checks of the image without building it: its sources exist, it is pinned, and the manifests fit it."""

import re

import pytest
from manifests import ROOT, pods_of, render
from reference_rules import IN_IMAGE

DOCKERFILE = (ROOT / "k8s" / "image" / "Dockerfile").read_text()
IGNORED = (ROOT / "k8s" / "image" / "Dockerfile.dockerignore").read_text().splitlines()
MAKEFILE = (ROOT / "Makefile").read_text()


def instructions(name: str) -> list[str]:
    """The arguments of every instruction of a kind, continued lines joined."""
    lines = re.sub(r"\\\n\s*", " ", re.sub(r"^\s*#.*\n", "", DOCKERFILE, flags=re.MULTILINE)).splitlines()
    return [line.removeprefix(name).strip() for line in lines if line.startswith(name + " ")]


def copied() -> dict[str, str]:
    """The files copied from the repository: source to target."""
    words = [argument.split() for argument in instructions("COPY") if not argument.startswith("--from")]
    return {source: target for *sources, target in words for source in sources}


@pytest.mark.parametrize("engine", ["cpu", "gpu"])
def test_everything_that_is_copied_exists_and_is_let_into_the_context(engine: str) -> None:
    for source in copied():
        path = source.replace("${ENGINE}", engine)
        assert (ROOT / path).exists(), path
        assert f"!{path.partition('/')[0]}" in IGNORED
    assert IGNORED[0] == "*"


def test_packages_come_from_the_lock_files_by_the_installer_that_made_them() -> None:
    assert "requirements/${ENGINE}.txt" in copied()
    (installer,) = re.findall(r"uv==([\d.]+)", DOCKERFILE)
    assert f"uv=={installer}" in MAKEFILE
    assert "uv pip sync" in DOCKERFILE
    installs = re.findall(r"pip install (.*)", DOCKERFILE)
    assert all("uv==" in line or "--no-deps" in line for line in installs)


def test_the_python_is_the_one_that_the_locks_were_made_for() -> None:
    (python,) = re.findall(r"^ARG PYTHON_IMAGE=python:(3\.\d+)-", DOCKERFILE, flags=re.MULTILINE)
    assert set(re.findall(r"--python-version (3\.\d+)", MAKEFILE)) == {python}


def test_it_has_two_stages_and_ends_as_a_user_that_is_not_root() -> None:
    assert [stage.split()[-1] for stage in instructions("FROM")] == ["build", "runtime"]
    (user,) = instructions("USER")
    assert user == "1000:1000"
    assert DOCKERFILE.index("USER 1000") > DOCKERFILE.index("COPY --from=build")
    ours = [pod for pod in pods_of(render("cpu")) if any("stillery:" in c["image"] for c in pod.containers)]
    assert len(ours) >= 8
    assert {pod.spec["securityContext"]["runAsUser"] for pod in ours} == {1000}


def test_folders_that_manifests_name_are_where_the_image_puts_them() -> None:
    targets = copied()
    for folder in ("jobs", "platform", "serving"):
        assert targets[folder] == str(IN_IMAGE / folder)
    environment = " ".join(instructions("ENV"))
    assert f"PYTHONPATH={IN_IMAGE}" in environment
    assert "STILLERY_HOME=/srv/stillery" in environment
    assert "HF_HOME=/models/" in environment


def test_no_secret_is_built_in() -> None:
    assert not re.search(r"(?i)(token|password|secret|api_key)\s*=", DOCKERFILE)
    assert not re.search(r"^ADD ", DOCKERFILE, flags=re.MULTILINE)
