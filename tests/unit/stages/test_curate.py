"""The stage: samples from tables, the whole completion, the mixture, masks, and a decision for every sample."""

import dataclasses
from collections import Counter
from pathlib import Path

import pytest

from stillery.bonds import analyze
from stillery.config import CurateConfig
from stillery.curation.samples import to_sample, whole_completion
from stillery.curation.weights import corrected_spans
from stillery.errors import UserError
from stillery.io.storage import Folder
from stillery.records import Choice, Generation, Prompt, Sample, Verdict, from_table
from stillery.stages.curate import curate


def generation(index: int, *, prompt: str = "p", text: str | None = None) -> Generation:
    return Generation(
        sample_id=f"{prompt}{index}", prompt_id=prompt, sample_index=index, seed=0, rendered="q",
        completion=f"<think>\n{index}\n</think>\n<answer>1</answer>" if text is None else text, finish_reason="stop",
        num_prompt_tokens=1, num_tokens=5, mean_logprob=-0.1, model="T", sampling="{}", attempt=0, surplus=False,
        error=None,
    )  # fmt: skip


def verdict(row: Generation, kind: str = "correct", template: str = "ok") -> Verdict:
    return Verdict(row.sample_id, row.prompt_id, "t", "1", "1", kind, template, [], None)


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
    funnel = curate(CurateConfig(), **write_inputs(tmp_path, "correct"), stopping=None, out=out)
    samples = from_table(out.read_all(Sample), Sample)
    assert [s.prompt[0].content for s in samples] == ["1+0?", "1+0?"]
    assert {s.teacher for s in samples} == {"T"}
    assert (funnel["generated"], funnel["correct"], funnel["kept"], funnel["train"]) == (2, 2, 2, 2)


def test_no_accepted_sample_at_all_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no sample was accepted for training \(2 wrong\)"):
        curate(
            CurateConfig(),
            **write_inputs(tmp_path, "wrong"),
            stopping=None,
            out=Folder(str(tmp_path / "out")),
        )


def many(root: Path, *, files: int, per_file: int) -> dict[str, Folder]:
    """Generations of several files, half of the problems without an answer; verdicts divided otherwise."""
    folders = {name: Folder(str(root / name)) for name in ("prompts", "generations", "verdicts")}
    verdicts, prompts = list[Verdict](), list[Prompt]()
    for number in range(files):
        rows = []
        for n in range(per_file):
            name = f"p{number}-{n}"
            gold = "1" if n % 2 else None
            prompts.append(Prompt(name, "t", f"1+{n}?", gold, "number", [], "test", "train", 1, None))
            rows += [generation(i, prompt=name) for i in range(2)]
        folders["generations"].write_rows(f"generations-{number:05d}.parquet", rows, Generation)
        verdicts += [verdict(row, "correct" if row.sample_index else "wrong") for row in rows]
    folders["prompts"].write_rows("prompts.parquet", prompts, Prompt)
    for number, start in enumerate(range(0, len(verdicts), 7)):
        folders["verdicts"].write_rows(f"verdicts-{number:05d}.parquet", verdicts[start : start + 7], Verdict)
    return folders


def test_every_sample_has_one_choice_whatever_the_files_are(tmp_path: Path) -> None:
    out = Folder(str(tmp_path / "out"))
    summary = curate(CurateConfig(), **many(tmp_path, files=3, per_file=10), stopping=None, out=out)
    choices = from_table((out / "choices").read_all(Choice), Choice)
    assert len({c.sample_id for c in choices}) == len(choices) == summary["generated"] == 60
    assert Counter(c.reason for c in choices) == {None: 30, "wrong": 30}
    assert len(from_table(out.read_all(Sample), Sample)) == summary["kept"] == 30
    assert summary["tokens"] == {"total": 150, "mean": 5.0, "min": 5, "max": 5}
    assert "30 of 60 sampled traces" in (tmp_path / "out" / "README.md").read_text()


@pytest.mark.slow
def test_a_mixture_thins_the_part_that_there_is_too_much_of(tmp_path: Path) -> None:
    out, again = Folder(str(tmp_path / "out")), Folder(str(tmp_path / "again"))
    folders = many(tmp_path, files=4, per_file=100)
    mixed = CurateConfig(mixture={"reasoning": 0.8, "general": 0.2})
    summary = curate(mixed, **folders, stopping=None, out=out)
    parts = summary["by_part"]
    assert parts["reasoning"] == 200, "the scarcer part for its share stays whole"
    assert 30 <= parts["general"] <= 70
    assert summary["dropped"]["mixture"] == 200 - parts["general"]
    assert sum(summary["dropped"].values()) + summary["kept"] == summary["generated"]
    curate(mixed, **folders, stopping=None, out=again)
    assert [s.sample_id for s in from_table(again.read_all(Sample), Sample)] == [
        s.sample_id for s in from_table(out.read_all(Sample), Sample)
    ]
    with pytest.raises(UserError, match="asks for 100% of other, and there is none"):
        curate(CurateConfig(mixture={"other": 1.0}), **folders, stopping=None, out=again)


def test_a_step_that_is_corrected_later_is_masked_where_it_stands_in_the_sample() -> None:
    text = "2 + 2 = 5. Wait, 2 + 2 = 4.\n</think>\n<answer>4</answer>"
    row = dataclasses.replace(generation(0, text=text), rendered="q<think>\n")
    prompt = Prompt("p", "t", "2+2?", "4", "number", [], "test", "train", 1, None)
    molecule = analyze(text, question="2+2?", markers=False)
    spans = corrected_spans(molecule)
    assert [text[int(start) : int(end)].strip() for start, end, _ in spans] == ["2 + 2 = 5."]
    sample = to_sample(row, prompt, weights=spans)
    assert [sample.completion[0].content[int(s) : int(e)].strip() for s, e, _ in sample.weights] == ["2 + 2 = 5."]
    assert sample.completion[0].content.startswith("<think>\n2 + 2")
