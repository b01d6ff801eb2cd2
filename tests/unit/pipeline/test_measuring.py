"""Measuring a champion long after the run that it is compared with: the parts of that run that must still exist."""

from pathlib import Path

import pytest

from stillery.config import to_yaml
from stillery.errors import UserError
from stillery.pipeline.measuring import measure_as_in
from support.small_run import small_config


def test_a_run_that_is_gone_is_named_and_not_made_anew(tmp_path: Path) -> None:
    run = tmp_path / "run"
    with pytest.raises(UserError, match=f"the run that trained it is not at {run} any more"):
        measure_as_in(str(run), to_yaml(small_config(run)), "f00", tmp_path)
    assert not run.exists()


def test_problems_that_are_gone_are_named(tmp_path: Path) -> None:
    run = tmp_path / "run"
    (run / "stages" / "prompts" / "f00").mkdir(parents=True)
    with pytest.raises(UserError, match="does not hold the problems any more"):
        measure_as_in(str(run), to_yaml(small_config(run)), "f00", tmp_path)
