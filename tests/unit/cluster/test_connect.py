"""Starting Ray, and the workers' path to the driver's code: it comes first, and the user's own path stays."""

import os
from pathlib import Path

import pytest
import ray

import stillery
from stillery.cluster import connect as cluster
from stillery.config import ClusterConfig
from stillery.errors import UserError

ROOT = str(Path(stillery.__file__).parents[1])


@pytest.mark.parametrize(("driver", "worker"), [(None, None), ("/mine", None), (None, "/theirs"), ("/mine", "/theirs")])
def test_the_user_s_python_path_stays(driver: str | None, worker: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    from ray._private.utils import update_envs

    monkeypatch.delenv("RAY_JOB_CONFIG_JSON_ENV_VAR", raising=False)
    monkeypatch.delenv("PYTHONPATH", raising=False)
    if driver is not None:
        monkeypatch.setenv("PYTHONPATH", driver)
    told = cluster.runtime_env()["env_vars"]
    monkeypatch.delenv("PYTHONPATH", raising=False)
    if worker is not None:
        monkeypatch.setenv("PYTHONPATH", worker)
    # What a worker does with it when it starts.
    update_envs(told)
    paths = os.environ["PYTHONPATH"].split(os.pathsep)
    assert [path for path in paths if path] == [path for path in (ROOT, driver, worker) if path is not None]


def test_workers_keep_pytorchs_warnings_to_themselves_unless_they_are_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("TORCH_CPP_LOG_LEVEL", raising=False)
    assert cluster.runtime_env()["env_vars"]["TORCH_CPP_LOG_LEVEL"] == "ERROR"
    monkeypatch.setenv("TORCH_CPP_LOG_LEVEL", "INFO")
    assert cluster.runtime_env()["env_vars"]["TORCH_CPP_LOG_LEVEL"] == "INFO"


def test_a_ray_that_a_busy_machine_starts_too_slowly_is_started_again(monkeypatch: pytest.MonkeyPatch) -> None:
    starts = late_starts(monkeypatch, late=2)
    cluster.connect(ClusterConfig(address="local"), dashboard=False)
    assert starts == ["late", "late", "up"]


def test_a_machine_that_never_gets_to_it_is_named_with_what_helps(monkeypatch: pytest.MonkeyPatch) -> None:
    starts = late_starts(monkeypatch, late=9)
    with pytest.raises(UserError, match="did not start on this machine in time, 3 times over"):
        cluster.connect(ClusterConfig(address="local"), dashboard=False)
    assert starts == ["late"] * 3


def late_starts(monkeypatch: pytest.MonkeyPatch, *, late: int) -> list[str]:
    """A Ray whose first `late` starts time out; the list of its starts fills as they happen."""
    starts: list[str] = []

    def init(**options: object) -> None:
        starts.append("late" if len(starts) < late else "up")
        if starts[-1] == "late":
            raise Exception("The current node timed out during startup. This could happen because ...")

    monkeypatch.setattr(ray, "init", init)
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    return starts
