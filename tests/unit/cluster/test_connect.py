"""What workers are told of the driver's code: it is found first, and the user's own path stays."""

import os
from pathlib import Path

import pytest

import stillery
from stillery.cluster import connect as cluster

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
