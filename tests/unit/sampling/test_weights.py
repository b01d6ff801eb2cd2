"""A set of deliberately broken students, each with its one-line error, and odd ones that are valid."""

import re
import shutil
from pathlib import Path

import pytest

from stillery.config import load_config
from stillery.errors import UserError
from stillery.pipeline.preflight import check
from support.broken_students import BROKEN, SETTINGS, WHOLE
from support.chat_models import STUDENT


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_student_is_refused_in_one_line_that_names_it(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "student"
    shutil.copytree(STUDENT, folder)
    make, message = BROKEN[name]
    make(folder)
    with pytest.raises(UserError) as error:
        check(load_config(None, [f"sft.student={folder}"]))
    assert str(error.value).startswith(f"sft.student={folder}: ")
    assert "\n" not in str(error.value)
    assert re.search(message, str(error.value)), str(error.value)


@pytest.mark.parametrize("name", WHOLE)
def test_a_student_that_can_be_trained_passes(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "student"
    shutil.copytree(STUDENT, folder)
    WHOLE[name](folder)
    check(load_config(None, [f"sft.student={folder}"]))


@pytest.mark.parametrize("name", SETTINGS)
def test_settings_that_cannot_work_are_refused_by_their_key(name: str) -> None:
    overrides, message = SETTINGS[name]
    with pytest.raises(UserError, match=message) as error:
        check(load_config(None, overrides))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "overrides",
    [
        ["teacher.sampling.max_tokens=16384", "sft.max_long_share=1", "evaluate.max_cut_share=1"],
        ["teacher.sampling.max_tokens=16384", "sft.trl.max_length=16384", "evaluate.sampling.max_tokens=16384"],
        ["teacher.sampling.max_tokens=700"],
    ],
)
def test_limits_that_are_near_or_allowed_pass(overrides: list[str]) -> None:
    check(load_config(None, overrides))
