"""Verification: generations and prompts in, verdicts out.

Ray actors do the work, each with its own `GradingPool`. One grades thousands of answers a second; more are for clusters
whose engines together generate faster. Verdicts come back in the order of the generation files.
"""

from collections import Counter
from itertools import count
from typing import Any

import pyarrow as pa

from stillery import records
from stillery.config import VerifyConfig
from stillery.io.run_folder import Run
from stillery.io.storage import Folder
from stillery.io.tables import TableRows
from stillery.metrics import check_failures
from stillery.model_judge.judging import judge_open
from stillery.model_judge.wording import JUDGED
from stillery.records import FAILURES, Generation, Prompt, Verdict
from stillery.stages.fingerprints import grading_settings
from stillery.stages.stage import TRAINED, Stage, StageContext
from stillery.telemetry.logs import logger
from stillery.verify.judge import NO_SAMPLE
from stillery.verify.rows import GRADED_COLUMNS, VERSION, grade_rows, job_of, open_pool, why_failed

ROWS_PER_FILE = 20_000
ROWS_PER_BATCH = 1024


def verify_generations(
    config: VerifyConfig,
    *,
    generations: Folder,
    prompts: Folder,
    out: Folder,
    max_failure_share: float,
    run: Run | None = None,
    seed: int = 0,
) -> dict[str, Any]:
    """Write one verdict per generation into `out` (verdicts-00000.parquet, … of 20,000 rows) and count them.

    Answers that could not be graded are graded once more; if the run ends because of them, its next start grades only
    those again. Then a judge (`config.judge`) decides the answers that are left to it, in the log of `run`.

    Returns {"verdicts": {kind: rows}, "templates": {state: rows}, "flags": {flag: rows}, "failed": share}, where failed
    are those that an engine made and grading could not decide. Needs a running Ray. Raises UserError where a
    generation's prompt is not among the prompts, and where a larger share than `max_failure_share` failed.
    """
    names = generations.names(".parquet")
    num_samples = generations.num_rows()
    if not out.names(".parquet") or out.num_rows() != num_samples:
        numbers = count()
        for table in _verified(config, generations, names, prompts) if names else [records.to_table([], Verdict)]:
            out.write_table(f"verdicts-{next(numbers):05d}.parquet", table)
    _grade_again(config, generations, prompts, out)
    if config.judge.kind != "none" and run is not None:
        _ask_judge(config, generations, prompts, out, run=run, seed=seed)
    summary = {"verdicts": Counter[str](), "templates": Counter[str](), "flags": Counter[str]()}
    failures = Counter[str]()
    for name in out.names(".parquet"):
        table = out.read_table(name, Verdict)
        summary["verdicts"].update(table["verdict"].to_pylist())
        summary["templates"].update(table["template"].to_pylist())
        summary["flags"].update(flag for flags in table["flags"].to_pylist() for flag in flags)
        failures.update(why_failed(row["detail"], row["verdict"]) for row in _ungraded(table).to_pylist())
    share = check_failures("verify", failures, num_samples=num_samples, most=max_failure_share)
    return {**{key: dict(sorted(counts.items())) for key, counts in summary.items()}, "failed": share}


def _ungraded(verdicts: pa.Table) -> pa.Table:
    """The verdicts where grading failed; where there is no sample, there was nothing to grade."""
    told = zip(verdicts["verdict"].to_pylist(), verdicts["detail"].to_pylist(), strict=True)
    return verdicts.filter(
        pa.array([v in FAILURES and not (d or "").startswith(NO_SAMPLE) for v, d in told], pa.bool_())
    )


def _failed_here(verdicts: pa.Table) -> list[str]:
    """The failed verdicts that this process may decide, by sample_id, without those left to a judge."""
    rows = _ungraded(verdicts)
    told = zip(rows["sample_id"].to_pylist(), rows["detail"].to_pylist(), strict=True)
    return [sample for sample, detail in told if not (detail or "").startswith(JUDGED)]


def _grade_again(config: VerifyConfig, generations: Folder, prompts: Folder, out: Folder) -> None:
    """Grade the failed ones once more, in this process, and write the verdicts in place."""
    import pyarrow.compute as pc

    failed = {name: _failed_here(out.read_table(name, Verdict)) for name in out.names(".parquet")}
    wanted = {sample for samples in failed.values() for sample in samples}
    if not wanted:
        return
    logger.info(f"verify: grading {len(wanted):,} samples again that were not decided")
    by_id = {p.prompt_id: p for p in records.from_table(prompts.read_all(Prompt), Prompt)}
    is_wanted = pc.field("sample_id").isin(sorted(wanted))
    tables = (generations.read_table(name, Generation).filter(is_wanted) for name in generations.names(".parquet"))
    rows = [row for table in tables for row in records.from_table(table, Generation)]
    again = {verdict.sample_id: verdict for verdict in grade_rows(config, rows, by_id)}
    for name, samples in failed.items():
        if samples:
            verdicts = out.read_rows(name, Verdict)
            out.write_rows(name, [again.get(v.sample_id, v) for v in verdicts], Verdict)


def _ask_judge(config: VerifyConfig, generations: Folder, prompts: Folder, out: Folder, *, run: Run, seed: int) -> None:
    """Write a judge's verdicts in place, one file of verdicts at a time."""
    by_id = {p.prompt_id: p for p in records.from_table(prompts.read_all(Prompt), Prompt)}
    rows = TableRows.of(generations)
    start = 0
    for name in out.names(".parquet"):
        verdicts = out.read_rows(name, Verdict)
        made = rows.read(Generation, start, len(verdicts))
        start += len(verdicts)
        judged = judge_open(config, made, verdicts, by_id, run=run, seed=seed, label=f"verify {name}")
        if judged != verdicts:
            out.write_rows(name, judged, Verdict)


class _Grader:
    """The Ray actor: a batch of generations in, their verdicts out."""

    def __init__(self, config: VerifyConfig, prompts: Any) -> None:
        import ray

        self._prompts_by_id: dict[str, Prompt] = ray.get(prompts)
        self._config = config
        self._pool = open_pool(config)

    def __call__(self, batch: pa.Table) -> pa.Table:
        jobs = (job_of(row, self._prompts_by_id, self._config) for row in batch.to_pylist())
        return records.to_table(list(self._pool.grade_many(jobs)), Verdict)


def _verified(config: VerifyConfig, generations: Folder, names: list[str], prompts: Folder) -> Any:
    """Tables of 20,000 verdicts, in the order of the generations, computed by Ray Data."""
    import ray

    by_id = {p.prompt_id: p for p in records.from_table(prompts.read_all(Prompt), Prompt)}
    fs, path = generations.open_fs()
    # Reading takes a fraction of a CPU, and so does the actor: whole CPUs would deadlock on two cores.
    rows = ray.data.read_parquet(
        [f"{path}/{name}" for name in names],
        filesystem=None if generations.is_local else fs,
        num_cpus=0.25,
    ).select_columns(GRADED_COLUMNS)
    rows.context.execution_options.preserve_order = True
    rows.context.enable_progress_bars = False
    verdicts = rows.map_batches(
        _Grader,
        fn_constructor_args=(config, ray.put(by_id)),
        batch_format="pyarrow",
        batch_size=ROWS_PER_BATCH,
        compute=ray.data.ActorPoolStrategy(min_size=1, max_size=config.max_actors),
        num_cpus=config.num_cpus,
    )
    for table in verdicts.iter_batches(batch_size=ROWS_PER_FILE, batch_format="pyarrow"):
        yield records.conform(table, Verdict)


def _run(context: StageContext) -> dict[str, Any]:
    return verify_generations(
        context.config.verify,
        generations=context.folder("generate"),
        prompts=context.folder("prompts"),
        out=context.out,
        max_failure_share=context.config.run.max_failure_share,
        run=context.run,
        seed=context.config.run.seed,
    )


STAGE = Stage("verify", version=VERSION, needs=(TRAINED, "generate"), settings=grading_settings, run=_run)
