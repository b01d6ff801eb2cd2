"""Rejection sampling: what is kept, in which order, and that every sample is accounted for."""

from pathlib import Path

import pytest

from stillery.config import CurateConfig
from stillery.curate.stage import choose, curate
from stillery.errors import UserError
from stillery.records import Generation, Prompt, Sample, Verdict, from_table
from stillery.storage import Folder


def generation(index: int, *, prompt: str = "p", text: str | None = None) -> Generation:
    return Generation(
        sample_id=f"{prompt}{index}", prompt_id=prompt, sample_index=index, seed=0, rendered="q",
        completion=f"<think>\n{index}\n</think>\n<answer>1</answer>" if text is None else text, finish_reason="stop",
        num_prompt_tokens=1, num_tokens=5, mean_logprob=-0.1, model="T", sampling="{}", round=0, surplus=False,
        error=None,
    )  # fmt: skip


def verdict(row: Generation, kind: str = "correct", template: str = "ok") -> Verdict:
    return Verdict(row.sample_id, row.prompt_id, "t", "1", "1", kind, template, [], None)


def test_the_first_k_by_sample_index_are_kept_whatever_order_they_came_in() -> None:
    rows = [generation(i) for i in (5, 1, 3, 2)]
    kept, dropped = choose(CurateConfig(max_per_prompt=2), [(row, verdict(row)) for row in rows])
    assert [row.sample_index for row in kept] == [1, 2]
    assert dropped == {"beyond max_per_prompt": 2}


def test_every_reason_is_counted_and_nothing_is_lost() -> None:
    rows = [generation(i) for i in range(5)]
    kinds = [("wrong", "ok"), ("truncated", "unclosed"), ("correct", "no_think"), ("correct", "ok"), ("timeout", "ok")]
    kept, dropped = choose(CurateConfig(), [(r, verdict(r, *k)) for r, k in zip(rows, kinds, strict=True)])
    assert [row.sample_index for row in kept] == [3]
    assert dropped == {"wrong": 1, "truncated": 1, "template: no_think": 1, "timeout": 1}
    assert len(kept) + sum(dropped.values()) == len(rows)


def test_exact_repeats_of_a_prompt_are_dropped_but_not_those_of_another() -> None:
    rows = [generation(0, text="x"), generation(1, text="x "), generation(0, prompt="q", text="x")]
    kept, dropped = choose(CurateConfig(), [(row, verdict(row)) for row in rows])
    assert [row.sample_id for row in kept] == ["p0", "q0"]
    assert dropped == {"duplicate": 1}


def write_inputs(root: Path, kind: str) -> dict[str, Folder]:
    rows = [generation(0), generation(1)]
    prompt = Prompt("p", "t", "1+0?", "1", "number", [], "test", "train", 1, None)
    folders = {name: Folder(str(root / name)) for name in ("prompts", "generations", "verdicts")}
    folders["prompts"].write_rows("prompts.parquet", [prompt], Prompt)
    folders["generations"].write_rows("generations-00000.parquet", rows, Generation)
    folders["verdicts"].write_rows("verdicts-00000.parquet", [verdict(row, kind) for row in rows], Verdict)
    return folders


def test_samples_hold_the_bare_question_and_the_teacher(tmp_path: Path) -> None:
    out = Folder(str(tmp_path / "out"))
    funnel = curate(CurateConfig(), **write_inputs(tmp_path, "correct"), out=out)
    samples = from_table(out.read_all(Sample), Sample)
    assert [s.prompt[0].content for s in samples] == ["1+0?", "1+0?"]
    assert {s.teacher for s in samples} == {"T"}
    assert (funnel["generated"], funnel["correct"], funnel["kept"], funnel["train"]) == (2, 2, 2, 2)


def test_no_accepted_sample_at_all_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no sample was accepted for training \(2 wrong\)"):
        curate(CurateConfig(), **write_inputs(tmp_path, "wrong"), out=Folder(str(tmp_path / "out")))
