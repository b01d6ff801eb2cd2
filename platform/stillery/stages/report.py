"""The report stage: the outputs of a run's stages in, report.html out. A stage that did not run is left out."""

import dataclasses
import json
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from stillery.config import Config, ReportConfig, settings_of, to_yaml
from stillery.io.run_folder import MANIFEST, Output, run_uri
from stillery.io.storage import Folder
from stillery.records import Molecule, Prompt, Rollout, Score, Verdict, from_table
from stillery.registry.benchmarks import FOLDER as BENCHMARKS
from stillery.report.data import Evaluation, Refinement, ReportData, StageLine
from stillery.report.page import render
from stillery.report.traces import choose_samples
from stillery.stages import register
from stillery.stages.stage import Stage, StageContext

REPORT = "report.html"


def write_report(
    config: ReportConfig,
    *,
    run_name: str,
    outputs: Mapping[str, Output],
    out: Folder,
    git_revision: str,
    config_yaml: str = "",
    benchmarks: Sequence[Mapping[str, Any]] = (),
) -> dict[str, Any]:
    """Write report.html into `out`; `outputs` are the finished stages by name, in the order in which they ran,
    `benchmarks` the receipts of `stillery benchmark`.

    Returns the summary {"path": address of the page}.
    """
    curated, registered, exported = (outputs.get(stage) for stage in ("curate", "register", "export"))
    bonded, compared = outputs.get("bonds"), outputs.get("compare_bonds")
    data = ReportData(
        run_name=run_name,
        git_revision=git_revision,
        date=time.strftime("%Y-%m-%d", time.gmtime()),
        before=_evaluation(outputs.get("evaluate_before")),
        tuned=_evaluation(outputs.get("evaluate_sft")),
        after=_evaluation(outputs.get("evaluate_after")),
        teacher=_evaluation(outputs.get("evaluate_teacher")),
        registered=registered.summary if registered else None,
        funnel=curated.summary if curated else None,
        verdicts=_count_values(outputs.get("verify"), Verdict, column="verdict"),
        history=_history(outputs.get("sft")),
        refined=_refinement(outputs.get("refine"), num_rollouts=config.num_traces),
        num_prompts=_count_values(outputs.get("prompts"), Prompt, column="split"),
        artifacts=exported.summary["candidates"] if exported else [],
        benchmarks=benchmarks,
        by_verdict=bonded.summary["by_verdict"] if bonded else None,
        compared=compared.summary if compared else None,
        stages=[_stage_line(output) for output in outputs.values()],
        config_yaml=config_yaml,
        num_traces=config.num_traces,
    )
    shown = {sample.sample_id for sample in choose_samples(data).values()}
    data = dataclasses.replace(data, molecules=_molecules(compared, shown))
    out.write_bytes(REPORT, render(data).encode())
    return {"path": (out / REPORT).uri}


def _evaluation(output: Output | None) -> Evaluation | None:
    if output is None or not output.summary["splits"]:
        return None
    return Evaluation(from_table(output.folder.read_all(Score), Score), output.summary)


def _molecules(output: Output | None, samples: set[str]) -> dict[str, Molecule]:
    """The molecules of a few samples."""
    import pyarrow.compute as pc

    found: dict[str, Molecule] = {}
    if output is not None and samples:
        for name in output.folder.names(".parquet"):
            wanted = output.folder.read_table(name, Molecule).filter(pc.field("sample_id").isin(sorted(samples)))
            found |= {molecule.sample_id: molecule for molecule in from_table(wanted, Molecule)}
    return found


def _history(output: Output | None) -> list[dict[str, Any]]:
    return json.loads(output.folder.read_bytes("history.json")) if output else []


def _refinement(output: Output | None, *, num_rollouts: int) -> Refinement | None:
    if output is None:
        return None
    names = output.folder.names(".parquet")[-1:]
    last = [row for name in names for row in output.folder.read_rows(name, Rollout)][-num_rollouts:]
    return Refinement(output.summary, _history(output), last)


def _count_values(output: Output | None, record: type[Any], *, column: str) -> dict[str, int]:
    """Count the values of a column, one file at a time: all verdicts of a run may not fit in memory."""
    counts: Counter[str] = Counter()
    if output is not None:
        for name in output.folder.names(".parquet"):
            values = output.folder.read_table(name, record).column(column).value_counts()
            counts.update({row["values"]: row["counts"] for row in values.to_pylist()})
    return dict(counts)


def _stage_line(output: Output) -> StageLine:
    manifest = json.loads(output.folder.read_bytes(MANIFEST))
    return StageLine(output.stage, output.fingerprint, output.summary.get("seconds"), manifest["finished"])


def _run(context: StageContext) -> dict[str, Any]:
    return write_report(
        context.config.report,
        run_name=context.config.run.name,
        git_revision=context.run.git_revision,
        config_yaml=to_yaml(context.config),
        outputs=context.outputs,
        out=context.out,
        benchmarks=_receipts(context.run.folder),
    )


def _receipts(run: Folder) -> list[dict[str, Any]]:
    """The receipts of the benchmarks of the run's versions, oldest first."""
    folder = run / BENCHMARKS
    found = [json.loads(folder.read_bytes(name)) for name in folder.names(".json")]
    return sorted(found, key=lambda receipt: str(receipt["measured"]))


def _settings(config: Config) -> dict[str, Any]:
    names = (Folder(run_uri(config)) / BENCHMARKS).names(".json")
    # Without benchmarks the report keeps its fingerprint.
    return settings_of(config.report) | ({"benchmarks": names} if names else {})


STAGE = Stage(
    "report",
    version=5,
    needs=(*register.STAGE.needs, "register", "export"),
    settings=_settings,
    run=_run,
    uses_ray=False,
    reads_summaries=True,
)
