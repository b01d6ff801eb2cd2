"""The counts of the trials: a run that lost, duplicated or cut short anything must not look sound."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path

import pytest

from stillery.config import Config, CurateConfig
from stillery.io.run_folder import MANIFEST
from stillery.io.storage import Folder
from stillery.records import Generation, Prompt, Sample, Score, Verdict
from stillery.verify.acceptance import Acceptance
from support.metrics_page import agrees, parse, total
from support.run_counts import Counts, count, expected_metrics, meets_rule
from support.small_run import small_config

RULE = Acceptance.of(CurateConfig())


def sample(index: int, *, prompt: str = "p", surplus: bool = False) -> Generation:
    return Generation(
        f"{prompt}-{index}", prompt, index, 0, "q", f"text {index}", "stop", 1, 1, -0.5, "m", "{}", 0, surplus, None
    )


def verdict(row: Generation, kind: str) -> Verdict:
    fields = {field.name: None for field in dataclasses.fields(Verdict)}
    told = {"sample_id": row.sample_id, "prompt_id": row.prompt_id, "verdict": kind, "template": "ok"}
    return Verdict(**{**fields, **told, "flags": [], "flag_evidence": []})  # type: ignore[arg-type]


def rule_is_met(rows: list[Generation], kinds: Mapping[int, str], *, num_samples: int = 4) -> bool:
    verdicts = {row.sample_id: verdict(row, kinds.get(row.sample_index, "wrong")) for row in rows}
    return meets_rule(rows, verdicts, rule=RULE, num_samples=num_samples, wanted=2)


def test_a_prompt_ends_at_its_second_acceptance_or_with_all_its_samples() -> None:
    right = {0: "correct", 2: "correct"}
    assert rule_is_met([sample(2), sample(0), sample(1)], right)
    assert rule_is_met([sample(0), sample(1), sample(2), sample(3, surplus=True)], right)
    assert rule_is_met([sample(i) for i in range(4)], {1: "correct"})


@pytest.mark.parametrize(
    "rows",
    [
        [sample(0), sample(1)],
        [sample(0), sample(2)],
        [sample(0), sample(1), sample(2), sample(3)],
        [sample(0), sample(1), sample(2, surplus=True)],
        [sample(0), sample(1), sample(2), sample(2)],
        [],
    ],
    ids=["too few", "a gap", "surplus not marked", "marked too early", "one twice", "none"],
)
def test_a_prompt_that_ends_elsewhere_does_not_meet_its_rule(rows: list[Generation]) -> None:
    assert not rule_is_met(rows, {0: "correct", 2: "correct"})


def test_copies_of_an_accepted_sample_are_not_accepted() -> None:
    rows = [dataclasses.replace(sample(i), completion="the same") for i in range(3)]
    assert not rule_is_met(rows, {0: "correct", 1: "correct", 2: "correct"})


def finished_run(folder: Path) -> tuple[Path, Config]:
    """A run of one problem to train on and one to measure on, with every stage that is counted."""
    config = small_config(
        folder, "teacher.samples_per_prompt=2", "teacher.accepted_per_prompt=2", "evaluate.samples_per_prompt=1",
        "evaluate.ks=[1]",
    )  # fmt: skip
    prompt = Prompt("p", "t", "q", "1", "number", [], "test", "train", 1, None)
    rows = [sample(0), sample(1)]
    run = folder / "run"
    measured = Score("m", "e", "e-0", 0, "t", "test", 1, "q", "1", "text", "1", "correct", "ok", 1, "stop")
    outputs = {
        "prompts": ([prompt, dataclasses.replace(prompt, prompt_id="e", split="test")], Prompt),
        "generate": (rows, Generation),
        "verify": ([verdict(row, "correct") for row in rows], Verdict),
        **dict.fromkeys(("evaluate_teacher", "evaluate_before", "evaluate_after"), ([measured], Score)),
        "report": ([], Score),
    }
    for stage, (content, record) in outputs.items():
        output = Folder(str(run / "stages" / stage / "f"))
        output.write_rows("rows.parquet", content, record)
        output.write_bytes(MANIFEST, b"{}")
    Folder(str(run / "log" / "key")).write_rows("block-1.parquet", rows, Generation)
    return run, config


def test_a_whole_run_is_sound(tmp_path: Path) -> None:
    run, config = finished_run(tmp_path)
    counts = count(run, config, durable={"p-0", "p-1"})
    assert counts == Counts(samples=2, lost=0, doubled=0, prompts=4, unmet=0, reached_report=True)
    assert counts.is_sound


def test_lost_and_doubled_samples_and_missing_measurements_show(tmp_path: Path) -> None:
    run, config = finished_run(tmp_path)
    log = Folder(str(run / "log" / "key"))
    log.write_rows("block-2.parquet", [sample(1)], Generation)
    Folder(str(run / "stages" / "evaluate_after" / "f")).write_rows("rows.parquet", [], Score)
    (run / "stages" / "report" / "f" / MANIFEST).unlink()
    counts = count(run, config, durable={"p-0", "p-7"})
    assert counts == Counts(samples=2, lost=1, doubled=1, prompts=4, unmet=1, reached_report=False)
    assert not counts.is_sound


def test_what_metrics_must_add_up_to_is_read_from_the_tables(tmp_path: Path) -> None:
    run, config = finished_run(tmp_path)
    config.teacher.endpoint.output_price = 500_000.0
    failed = dataclasses.replace(sample(2), error="refused", num_tokens=0, num_prompt_tokens=0)
    rows = [sample(0), dataclasses.replace(sample(1), completion="text 0"), failed]
    kinds = {0: "correct", 1: "correct", 2: "error"}
    tables = {
        "generate": (rows, Generation),
        "verify": ([verdict(row, kinds[row.sample_index]) for row in rows], Verdict),
        "curate": ([Sample("p-0", "p", "t", "train", [], [], [], "reasoning", "m")], Sample),
    }
    for stage, (content, record) in tables.items():
        output = Folder(str(run / "stages" / stage / "f"))
        output.write_rows("rows.parquet", content, record)
        output.write_bytes(MANIFEST, b'{"summary": {"dropped": {"error": 1, "duplicate": 1}}}')
    expected = {
        (name.removeprefix("ray_stillery_").removesuffix("_total"), *sorted(tags.values())): value
        for name, tags, value in expected_metrics(run, config)
    }
    assert expected.items() >= {
        ("samples", "generate"): 3, ("sample_errors", "generate"): 1, ("accepted",): 1, ("cost",): 1.0,
        ("tokens", "completion", "generate"): 2, ("tokens", "prompt"): 2, ("kept", "curate"): 1,
        ("rejected", "curate"): 2, ("rejected", "duplicate"): 1, ("verdicts", "correct"): 2, ("verdicts",): 3,
        ("samples", "evaluate_after"): 1, ("tokens", "completion", "evaluate_after"): 1,
    }.items()  # fmt: skip


PAGE = """\
# TYPE ray_stillery_samples_total counter
ray_stillery_samples_total{run="a",stage="generate",WorkerId="1"} 3.0
ray_stillery_samples_total{run="a",stage="generate",WorkerId="2"} 4.0
ray_stillery_samples_total{run="b",stage="generate",WorkerId="3"} 9.0
# TYPE ray_stillery_stage_progress gauge
ray_stillery_stage_progress{run="a",stage="generate"} 0.5
"""


def test_a_page_is_added_up_by_tags_and_what_is_missing_counts_as_nothing() -> None:
    page = parse(PAGE)
    assert total(page, "ray_stillery_samples_total", {"run": "a", "stage": "generate"}) == 7
    assert total(page, "ray_stillery_samples_total", {}) == 16
    assert total(page, "ray_stillery_samples_total", {"run": "c"}) == 0
    assert total(page, "ray_stillery_stage_progress", {"run": "a"}) == 0.5
    assert agrees(0.1 + 0.2, 0.3)
    assert not agrees(7, 8)
