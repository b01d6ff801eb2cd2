"""Rejection sampling: what is kept, in which order, and that every sample is accounted for."""

import dataclasses
from pathlib import Path

import pytest

from stillery.config import CurateConfig
from stillery.errors import UserError
from stillery.io.storage import Folder
from stillery.records import Generation, Prompt, Sample, Verdict, from_table
from stillery.stages.curate import choose, curate, whole_completion


def generation(index: int, *, prompt: str = "p", text: str | None = None) -> Generation:
    return Generation(
        sample_id=f"{prompt}{index}", prompt_id=prompt, sample_index=index, seed=0, rendered="q",
        completion=f"<think>\n{index}\n</think>\n<answer>1</answer>" if text is None else text, finish_reason="stop",
        num_prompt_tokens=1, num_tokens=5, mean_logprob=-0.1, model="T", sampling="{}", attempt=0, surplus=False,
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


def test_exact_repeats_are_dropped() -> None:
    rows = [generation(0, text="x"), generation(1, text="x "), generation(2, text="y")]
    kept, dropped = choose(CurateConfig(), [(row, verdict(row)) for row in rows])
    assert [row.sample_id for row in kept] == ["p0", "p2"]
    assert dropped == {"duplicate": 1}


def test_repeats_that_are_not_dropped_count_as_solved() -> None:
    rows = [(row, verdict(row)) for row in (generation(0, text="x"), generation(1, text="x"))]
    band = {"min_pass_rate": 0.9}
    assert choose(CurateConfig(**band), rows) == ([], {"duplicate": 1, "pass rate too low": 1})
    assert len(choose(CurateConfig(**band, deduplicate=False), rows)[0]) == 2


def test_flags_drop_only_where_the_config_says_so() -> None:
    row = generation(0)
    flagged = [(row, dataclasses.replace(verdict(row), flags=["repetition", "code_block"]))]
    assert choose(CurateConfig(), flagged)[0] == [row]
    assert choose(CurateConfig(drop_flags=["code_block"]), flagged) == ([], {"flag: code_block": 1})


def rated(outcomes: str, *, surplus_from: int = 99) -> list[tuple[Generation, Verdict]]:
    rows = [dataclasses.replace(generation(i), surplus=i >= surplus_from) for i in range(len(outcomes))]
    return [(r, verdict(r, "correct" if kind == "+" else "wrong")) for r, kind in zip(rows, outcomes, strict=True)]


@pytest.mark.parametrize(
    ("outcomes", "wanted", "surplus_from", "rate"),
    [
        ("++--", None, 99, 2 / 4),
        ("+-+", 2, 99, 1 / 2),
        ("+---", 2, 99, 1 / 4),
        ("+-+++", 2, 3, 1 / 2),
    ],
)
def test_a_band_goes_by_the_rate_that_fits_the_stopping_rule(
    outcomes: str, wanted: int | None, surplus_from: int, rate: float
) -> None:
    rows = rated(outcomes, surplus_from=surplus_from)
    above = CurateConfig(min_pass_rate=rate + 0.01)
    below = CurateConfig(max_pass_rate=rate - 0.01)
    num_right = outcomes.count("+")
    assert choose(above, rows, accepted_per_prompt=wanted)[1]["pass rate too low"] == num_right
    assert choose(below, rows, accepted_per_prompt=wanted)[1]["pass rate too high"] == num_right
    inside = CurateConfig(min_pass_rate=rate - 0.01, max_pass_rate=rate + 0.01)
    assert len(choose(inside, rows, accepted_per_prompt=wanted)[0]) == num_right


def again(row: Generation, kind: str = "correct") -> tuple[Generation, Verdict]:
    """A second try at a sample."""
    second = dataclasses.replace(row, attempt=1, sample_id=f"{row.sample_id}r", completion=f"{row.completion} again")
    return second, verdict(second, kind)


def test_a_second_try_replaces_an_accepted_first() -> None:
    """Both were counted as accepted of one sample, which ended the stage."""
    first = generation(0)
    second = again(first)
    kept, dropped = choose(CurateConfig(min_pass_rate=1.0), [(first, verdict(first)), second])
    assert kept == [second[0]]
    assert dropped == {"tried again": 1}
    assert choose(CurateConfig(), [(first, verdict(first)), again(first, "wrong")]) == (
        [],
        {"tried again": 1, "wrong": 1},
    )


@pytest.mark.parametrize("kind", ["error", "timeout"])
def test_failures_of_ours_make_no_problem_difficult(kind: str) -> None:
    rows = [*rated("++"), *[(row, verdict(row, kind)) for row in (generation(2), generation(3))]]
    kept, dropped = choose(CurateConfig(min_pass_rate=1.0), rows)
    assert len(kept) == 2
    assert dropped == {kind: 2}
    # A second try that failed says nothing of the first, which was cut off.
    cut = generation(4)
    rows += [(cut, verdict(cut, "truncated")), again(cut, kind)]
    assert len(choose(CurateConfig(min_pass_rate=1.0), rows)[0]) == 2


WHOLE = "<think>\n2 and 2\n</think>\n<answer>4</answer>"


@pytest.mark.parametrize(
    ("rendered", "completion"),
    [
        ("q", WHOLE),
        ("q<think>\n", "2 and 2\n</think>\n<answer>4</answer>"),
        # A server without a reasoning parser: its prompt opened the thinking, and nobody tells.
        ('[{"role": "user"}]', "2 and 2\n</think>\n<answer>4</answer>"),
        ("q", "\n2 and 2\n</think>\n<answer>4</answer>"),
        ("q<think>\n", WHOLE),
        ("q", "<thinking>2 and 2</thinking>\n<answer>4</answer>"),
        ("q", "[THINK]2 and 2[/THINK]<answer>4</answer>"),
        ("q", "◁think▷2 and 2◁/think▷<answer>4</answer>"),
        (
            "q",
            "<|channel|>analysis<|message|>2 and 2<|end|><|start|>assistant"
            "<|channel|>final<|message|><answer>4</answer>",
        ),
        ("q[THINK]", "2 and 2[/THINK]<answer>4</answer>"),
        ("q", "2 and 2</thought>\n\n<answer>4</answer>"),
    ],
)
def test_thinking_is_learnt_from_its_beginning_and_in_one_form(rendered: str, completion: str) -> None:
    row = dataclasses.replace(generation(0, text=completion), rendered=rendered)
    assert whole_completion(row) == WHOLE


@pytest.mark.parametrize(
    "completion", ["4", "<answer>4</answer>", "<think>a</think>b<think>c</think>d", "<think>no end"]
)
def test_what_is_not_one_block_of_thinking_stays_as_it_is(completion: str) -> None:
    assert whole_completion(generation(0, text=completion)) == completion


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
    funnel = curate(CurateConfig(), **write_inputs(tmp_path, "correct"), accepted_per_prompt=None, out=out)
    samples = from_table(out.read_all(Sample), Sample)
    assert [s.prompt[0].content for s in samples] == ["1+0?", "1+0?"]
    assert {s.teacher for s in samples} == {"T"}
    assert (funnel["generated"], funnel["correct"], funnel["kept"], funnel["train"]) == (2, 2, 2, 2)


def test_no_accepted_sample_at_all_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no sample was accepted for training \(2 wrong\)"):
        curate(
            CurateConfig(),
            **write_inputs(tmp_path, "wrong"),
            accepted_per_prompt=None,
            out=Folder(str(tmp_path / "out")),
        )
