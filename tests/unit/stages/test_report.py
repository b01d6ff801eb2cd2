import json
from pathlib import Path
from typing import Any

from stillery.config import ReportConfig
from stillery.io.run_folder import Output, Run
from stillery.io.storage import Folder
from stillery.records import Prompt, Score, Verdict
from stillery.stages.report import write_report
from support.report_runs import AFTER, BEFORE, FUNNEL, HISTORY, TEACHER, make_evaluation


def _finish(run: Run, stage: str, summary: dict[str, Any], *, rows: list[Any] | None = None) -> Output:
    """A finished stage, as the pipeline leaves it: rows first, the manifest last."""
    if rows:
        run.stage_folder(stage, "f00d").write_rows("rows.parquet", rows, type(rows[0]))
    return run.complete(stage, "f00d", version=1, settings={}, inputs={}, summary=summary)


def _write(run: Run, outputs: list[Output]) -> str:
    written = write_report(
        ReportConfig(num_traces=1),
        run_name="demo",
        outputs={output.stage: output for output in outputs},
        out=run.folder / "report",
        git_revision="abc123",
        config_yaml="run:\n  name: demo\n",
    )
    return Path(written["path"]).read_text()


def _verdict(index: int, verdict: str) -> Verdict:
    return Verdict(f"s{index}", "p", None, None, None, verdict, "ok", [], None)


def test_the_outputs_of_a_whole_run_become_a_page(tmp_path: Path) -> None:
    run = Run(Folder(str(tmp_path)), "abc123")
    prompts = [Prompt(f"p{i}", "coins", "q", "a", "string", [], "tasks", "train", 2, None) for i in range(3)]
    run.stage_folder("sft", "f00d").write_bytes("history.json", json.dumps(HISTORY).encode())
    outputs = [
        _finish(run, "prompts", {}, rows=prompts),
        _finish(run, "verify", {}, rows=[_verdict(0, "correct"), _verdict(1, "wrong"), _verdict(2, "correct")]),
        _finish(run, "curate", FUNNEL),
        _finish(run, "sft", {"seconds": 75.0}),
    ]
    for stage, outcomes in (("teacher", TEACHER), ("before", BEFORE), ("after", AFTER)):
        evaluation = make_evaluation(outcomes)
        rows: list[Score] = list(evaluation.scores)
        outputs.append(_finish(run, f"evaluate_{stage}", dict(evaluation.summary), rows=rows))
    page = _write(run, outputs)
    for expected in (
        "75.0% ± 25.0",
        "3 train",
        "2 correct, 1 wrong",
        "kept: 700",
        "2.500 to 0.500",
        "1 min 15 s",
        "f00d",
    ):
        assert expected in page


def test_stages_that_did_not_run_are_no_error(tmp_path: Path) -> None:
    run = Run(Folder(str(tmp_path)), "abc123")
    assert "this run has no result yet" in _write(run, [])
    assert "12.5%" in _write(
        run, [_finish(run, "evaluate_before", dict((e := make_evaluation(BEFORE)).summary), rows=list(e.scores))]
    )
