"""Samples that would be lost for their length, by the settings and by the teacher's samples."""

from collections import Counter
from pathlib import Path

import pytest

from stillery.config import SftConfig, load_config
from stillery.errors import UserError
from stillery.io.storage import Folder
from stillery.records import Generation
from stillery.sampling.chat.lengths import LONG, Lengths, check_dropped, check_limits, read_lengths

LENGTHS = [Lengths(50, 200)] * 60 + [Lengths(50, 900)] * 40


def test_lengths_that_the_teacher_has_written_go_before_its_limit(capsys: pytest.CaptureFixture[str]) -> None:
    far = load_config(None, ["teacher.sampling.max_tokens=16384", "evaluate.sampling.max_tokens=1024"])
    with pytest.raises(UserError, match=r"sft\.trl\.max_length=1024: the teacher may write 16,384 tokens"):
        check_limits(far)
    check_limits(far, LENGTHS)
    assert "left out" not in capsys.readouterr().out
    with pytest.raises(UserError, match=r"max_tokens=512: 40 of the 100 samples .* evaluate\.max_cut_share=0\.41"):
        check_limits(load_config(None), LENGTHS)
    check_limits(load_config(None, ["evaluate.max_cut_share=0.41"]), LENGTHS)
    assert (
        "40 of the 100 samples that the teacher has written are longer, and will be cut off" in capsys.readouterr().out
    )


def test_a_second_try_with_more_tokens_is_the_longest() -> None:
    with pytest.raises(UserError, match="may write 4,096 tokens"):
        check_limits(load_config(None, ["teacher.resample={max_tokens: 4096}"]))


def test_a_limit_that_nothing_is_known_of_passes() -> None:
    check_limits(load_config(None, ["sft.trl.max_length=null", "teacher.sampling.max_tokens=600"]))
    check_limits(load_config(None, ["teacher.kind=recorded", "teacher.model=r1", "teacher.recorded.files=[x]"]))


def test_training_is_refused_where_too_many_rows_are_long_and_not_where_they_are_cut() -> None:
    config = SftConfig(max_long_share=0.3)
    check_dropped(config, Counter({LONG: 3, "cut by the chat template": 6}), num_rows=10)
    with pytest.raises(UserError, match=r"4 of 10 samples are longer .* sft\.max_long_share=0\.4"):
        check_dropped(config, Counter({LONG: 4}), num_rows=10)
    check_dropped(SftConfig(max_long_share=1.0), Counter({LONG: 10}), num_rows=10)


def test_the_lengths_of_finished_samples_are_read(tmp_path: Path) -> None:
    def made(completion: int, **values: object) -> Generation:
        whole = {"finish_reason": "stop", "error": None, **values}
        return Generation(
            "s", "p", 0, 0, "", "", num_prompt_tokens=7, num_tokens=completion, mean_logprob=None, model="m",
            sampling="{}", attempt=0, surplus=False, **whole,
        )  # type: ignore[arg-type]  # fmt: skip

    folder = Folder(str(tmp_path))
    folder.write_rows("a.parquet", [made(5), made(9, finish_reason="length"), made(0, error="x")], Generation)
    folder.write_rows("b.parquet", [made(6, finish_reason=None)], Generation)
    assert read_lengths(folder) == [Lengths(7, 5), Lengths(7, 6)]
