"""`stillery serve` before anything starts, and its output while it runs."""

from typing import Any

import pytest
import yaml

from stillery.cli.main import main
from stillery.cli.serve import changes


def state(**more: Any) -> dict[str, Any]:
    return {"serving": None, "starting": None, "failed": {}, "registry": "", **more}


def version(number: str) -> dict[str, str]:
    return {"version": number, "source": f"models:/coin/{number}"}


def test_a_wider_host_without_keys_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["serve", "host=0.0.0.0", "model=embedded:student"]) == 2
    assert "reachable from other machines" in capsys.readouterr().err


def test_a_folder_that_is_no_model_is_refused(capsys: pytest.CaptureFixture[str], tmp_path: Any) -> None:
    assert main(["serve", f"model={tmp_path}", "fallback=null"]) == 2
    assert "not a Hugging Face model folder" in capsys.readouterr().err


def test_the_config_that_is_shown_is_whole(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["serve", "--show-config", "engine.replicas=2", "port=8005"]) == 0
    shown = yaml.safe_load(capsys.readouterr().out)
    assert shown["http_options"] == {"host": "127.0.0.1", "port": 8005}
    assert shown["applications"][0]["args"]["engine"]["replicas"] == 2
    assert shown["applications"][0]["args"]["gateway"]["limits"]["concurrency"] == 32


@pytest.mark.parametrize(
    ("before", "after", "lines"),
    [
        (state(serving=version("1")), state(serving=version("1")), []),
        (state(serving=version("1")), state(serving=version("1"), starting=version("2")), ["version 2 is coming up"]),
        (state(serving=version("1"), starting=version("2")), state(serving=version("2")), ["version 2 is serving"]),
        (
            state(serving=version("1"), starting=version("2")),
            state(serving=version("1"), failed={"2": "it failed the probe"}),
            ["version 2 was refused: it failed the probe"],
        ),
        # A follower that was replaced has not looked yet.
        (state(serving=version("1")), state(), []),
        (state(), state(registry="MLflow cannot be used"), ["registry: MLflow cannot be used"]),
        (state(registry="MLflow cannot be used"), state(), ["registry: answers again"]),
    ],
)
def test_changes_are_told_once(before: dict[str, Any], after: dict[str, Any], lines: list[str]) -> None:
    assert changes(before, after) == lines
