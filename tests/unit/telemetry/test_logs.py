"""The output of a run: unchanged by default, and one JSON object per line on request."""

import json
import logging
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from stillery.cli.main import main
from stillery.cluster import connect as cluster
from stillery.errors import UserError
from stillery.pipeline.runner import run_pipeline
from stillery.sampling.progress import SamplingProgress
from stillery.telemetry import logs
from stillery.telemetry.bars import ProgressBar
from stillery.telemetry.logs import logger, with_fields
from support.small_run import small_config

WHERE = {"run": "first", "stage": "generate", "fingerprint": "0123456789abcdef"}


@pytest.fixture
def as_json(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(logs.VARIABLE, "json")


@pytest.fixture(autouse=True)
def _elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """No format of the user's, and nothing that another test has left."""
    monkeypatch.delenv(logs.VARIABLE, raising=False)
    monkeypatch.setattr(logs, "_where", {})


def objects(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def test_by_default_a_line_is_its_message_and_what_is_for_programs_is_not_printed(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with logs.within(WHERE):
        logger.info("generate: started", extra=with_fields(seconds=1))
        logger.debug("a sample failed", extra=with_fields(sample_id="s"))
    logger.error("no such file")
    assert capsys.readouterr() == ("generate: started\n", "stillery: no such file\n")


@pytest.mark.usefixtures("as_json")
def test_a_json_line_says_when_where_and_of_which_sample(capsys: pytest.CaptureFixture[str]) -> None:
    before = datetime.now(UTC)
    with logs.within(WHERE):
        logger.info("\nfünf\nlines")
        logger.debug("a sample failed", extra=with_fields(sample_id="s", prompt_id="p"))
    logger.info("outside")
    failed, inside, outside = sorted(objects(capsys.readouterr().out), key=lambda line: line["message"])
    assert inside == {**WHERE, "time": inside["time"], "level": "info", "message": "fünf\nlines"}
    assert failed.items() >= {**WHERE, "level": "debug", "sample_id": "s", "prompt_id": "p"}.items()
    assert set(outside) == {"time", "level", "message"}
    when = datetime.fromisoformat(inside["time"])
    assert abs((when - before).total_seconds()) < 60
    assert when.tzinfo is not None


def test_places_nest_and_end_with_a_failure_too() -> None:
    with logs.within({"run": "first"}):
        with logs.within({"stage": "sft"}):
            assert logs.current_fields() == {"run": "first", "stage": "sft"}
        assert logs.current_fields() == {"run": "first"}
        with pytest.raises(ValueError, match="boom"):
            fail_within({"stage": "curate"})
        assert logs.current_fields() == {"run": "first"}
    assert logs.current_fields() == {}


def fail_within(where: dict[str, str]) -> None:
    with logs.within(where):
        raise ValueError("boom")


@pytest.mark.usefixtures("as_json")
def test_every_line_of_a_run_is_json_and_names_its_stage(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = small_config(tmp_path / "run", "run.name=first")
    outputs = run_pipeline(config, until="prompts")
    run_pipeline(config, until="prompts")
    lines = objects(capsys.readouterr().out)
    assert all(line["run"] == "first" for line in lines)
    of_stage = [line for line in lines if "stage" in line]
    fingerprint = outputs["prompts"].fingerprint
    assert {(line["stage"], line["fingerprint"]) for line in of_stage} == {("prompts", fingerprint)}
    words = [line["message"].split()[1] for line in of_stage]
    assert words == ["started", "finished", "done"]


@pytest.mark.usefixtures("as_json")
def test_progress_of_sampling_is_told_as_the_rest(capsys: pytest.CaptureFixture[str]) -> None:
    with logs.within(WHERE):
        bar = ProgressBar("generate", 1, 4, 2.0, "cost 0.50", numbers={"cost": 0.5})
        SamplingProgress("generate", num_prompts=4, most_samples=4, judged=False).write(bar)
    (line,) = objects(capsys.readouterr().out)
    assert line["message"] == "generate: 1/4 prompts, cost 0.50, 6 s left"
    assert line["progress"] == {"done": 1, "of": 4, "seconds_left": 6.0, "cost": 0.5}
    assert line["stage"] == "generate"


@pytest.mark.usefixtures("as_json")
def test_why_a_command_ends_is_json_on_standard_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["prompts", "--config", str(tmp_path / "absent.yaml")]) == 2
    out, err = capsys.readouterr()
    (line,) = objects(err)
    assert line["level"] == "error"
    assert "absent.yaml" in line["message"]
    assert out == ""


def test_an_unknown_format_is_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(logs.VARIABLE, "xml")
    with pytest.raises(UserError, match="STILLERY_LOG=xml: no such format; set it to text or json"):
        logs.check_format()


def test_workers_print_as_their_driver_does(monkeypatch: pytest.MonkeyPatch) -> None:
    assert logs.VARIABLE not in cluster.runtime_env()["env_vars"]
    monkeypatch.setenv(logs.VARIABLE, "json")
    assert cluster.runtime_env()["env_vars"][logs.VARIABLE] == "json"


@pytest.mark.parametrize("told", [{}, {logs.VARIABLE: "json", "OTHER": "1"}, {"PYTHONPATH": "platform"}])
def test_ray_takes_what_a_submitted_job_and_its_driver_say_together(
    told: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from ray.runtime_env import runtime_env as rays_own

    monkeypatch.setenv(logs.VARIABLE, "json")
    monkeypatch.setenv("RAY_JOB_CONFIG_JSON_ENV_VAR", json.dumps({"runtime_env": {"env_vars": told}}))
    # What ray.init does with both; None where they contradict each other.
    merged: dict[str, Any] | None = rays_own._merge_runtime_env({"env_vars": told}, cluster.runtime_env())
    assert merged is not None
    assert merged["env_vars"][logs.VARIABLE] == "json"
    assert "PYTHONPATH" in merged["env_vars"]
    assert told.items() <= merged["env_vars"].items()


def test_an_application_may_add_a_handler(capsys: pytest.CaptureFixture[str]) -> None:
    seen: list[logging.LogRecord] = []
    handler = logging.Handler()
    handler.emit = seen.append  # type: ignore[method-assign]
    logger.addHandler(handler)
    try:
        with logs.within(WHERE):
            logger.info("generate: started")
    finally:
        logger.removeHandler(handler)
    assert capsys.readouterr().out == "generate: started\n"
    (record,) = seen
    assert record.getMessage() == "generate: started"
    assert vars(record)["fields"] == WHERE
