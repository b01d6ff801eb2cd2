"""Generation: best-of-n samples of the teacher, either a fixed number or until enough are accepted.

In: prompts. Out: all generations, before any verification or filtering. The samples come from the run's durable log, so
a larger n later, or a restart after a kill, samples only what is missing.
"""

import dataclasses
import functools
from collections import Counter
from collections.abc import Iterable
from typing import Any

import pyarrow as pa

from stillery.config import Config, CurateConfig, TeacherConfig, VerifyConfig
from stillery.errors import UserError
from stillery.io.readers.files import fingerprints
from stillery.io.run_folder import Run
from stillery.io.storage import Folder
from stillery.metrics import check_failures
from stillery.records import Generation, Prompt, Split, conform, from_table, to_table
from stillery.sampling.backend import teacher_backend
from stillery.sampling.backends.recorded import Recorded, RecordedCounts, read_recorded
from stillery.sampling.prompting import messages_of
from stillery.sampling.sample_log import SCORES
from stillery.sampling.sampler import sample
from stillery.sampling.stored_logprobs import TOP_LOGPROBS, write_scores
from stillery.stages.fingerprints import grading_settings, sampling_settings, teacher_identity
from stillery.stages.generate.judging import VerdictJudge, start_grader
from stillery.stages.generate.recorded import in_order
from stillery.stages.stage import TRAINED, Stage, StageContext, retry_failed
from stillery.telemetry.logs import logger
from stillery.verify.acceptance import Acceptance

ROWS_PER_FILE = 20_000
# With log-probabilities a sample takes kilobytes to megabytes.
SCORED_ROWS_PER_FILE = 2_000


def generate(
    config: TeacherConfig,
    *,
    verify: VerifyConfig,
    curate: CurateConfig,
    seed: int,
    max_failure_share: float,
    prompts: Folder,
    run: Run,
    out: Folder,
) -> dict[str, Any]:
    """Sample the teacher and write generations-*.parquet, a prompt's samples together in order of index.

    `verify` and `curate` define what is accepted, where the teacher stops at `config.accepted_per_prompt`. With a
    recorded teacher its generations are read instead, and the summary names the parts of the files that were not used,
    and why.

    Raises TooManyFailuresError if an engine failed on a larger share of the samples than `max_failure_share`.
    """
    asked = [p for p in from_table(prompts.read_all(Prompt), Prompt) if p.split in (Split.TRAIN, Split.VALIDATION)]
    if config.kind == "recorded":
        tally = RecordedCounts()
        recorded = recorded_of(config)
        parts = (to_table(rows, Generation) for rows in in_order(read_recorded(recorded, asked, tally=tally)))
        counts = _write(parts, num_prompts=len(asked), out=out)
        logger.info(f"generate: {tally}")
        return {**counts.summary(), **tally.summary()}
    conversations = [messages_of(p, system_prompt=config.system_prompt, instruction=config.instruction) for p in asked]
    judge = None
    if config.accepted_per_prompt is not None:
        judge = VerdictJudge(start_grader(verify, curate, prompts))
    samples = sample(
        asked,
        conversations,
        source=teacher_backend(config, logs=run.logs, now=run.started, scored=True),
        engine=config,
        sampling={**config.sampling, "seed": seed},
        num_samples=config.samples_per_prompt,
        run=run,
        label="generate",
        target_accepted=config.accepted_per_prompt,
        lookahead=config.lookahead,
        futility=config.futility,
        resample=config.resample,
        judge=judge,
    )
    scored = config.top_logprobs > 0
    tables = samples.tables(rows=SCORED_ROWS_PER_FILE if scored else ROWS_PER_FILE, scored=scored)
    counts = _write(tables, num_prompts=len(asked), out=out)
    summary = counts.summary()
    share = check_failures("generate", counts.failures, num_samples=summary["num_samples"], most=max_failure_share)
    if scored and not counts.num_scored:
        raise UserError(
            f"generate: teacher.top_logprobs is {config.top_logprobs}, and no sample came with log-probabilities that "
            "could be read; set it to 0"
        )
    return {**summary, **({"num_scored": counts.num_scored} if scored else {}), "failed": share}


def recorded_of(config: TeacherConfig) -> Recorded:
    """The location of a recorded teacher's generations."""
    return Recorded(
        name=config.model,
        files=config.recorded.files,
        columns=config.recorded.columns,
        samples_per_prompt=config.samples_per_prompt,
        on_bad_row=config.recorded.on_bad_row,
        max_bad_share=config.recorded.max_bad_share,
    )


def _write(parts: Iterable[pa.Table], *, num_prompts: int, out: Folder) -> "GenerationCounts":
    counts = GenerationCounts(num_prompts=num_prompts)
    for number, table in enumerate(parts):
        name = f"generations-{number:05d}.parquet"
        if SCORES in table.column_names:
            counts.num_scored += write_scores(out / TOP_LOGPROBS, name, table)
            table = conform(table, Generation)
        out.write_table(name, table)
        counts.add(table)
    return counts


class GenerationCounts:
    """Counts of the generated samples; tokens are the completions' only, including surplus and failed samples."""

    def __init__(self, *, num_prompts: int) -> None:
        self._counts = Counter[str](num_prompts=num_prompts)
        self._reasons = Counter[str]()
        # Samples with log-probabilities.
        self.num_scored = 0
        # Counts of each reason that an engine gave for returning no sample.
        self.failures = Counter[str]()

    def add(self, table: pa.Table) -> None:
        """Count a table of Generation."""
        errors: list[str | None] = table.column("error").to_pylist()
        self.failures.update(error for error in errors if error is not None)
        endings = zip(errors, table.column("finish_reason").to_pylist(), strict=True)
        self._reasons.update("error" if error is not None else reason or "unknown" for error, reason in endings)
        self._counts["num_tokens"] += sum(table.column("num_tokens").to_pylist())
        self._counts["num_surplus"] += sum(table.column("surplus").to_pylist())
        self._counts["num_resampled"] += sum(attempt > 0 for attempt in table.column("attempt").to_pylist())
        self._counts["num_samples"] += table.num_rows

    def summary(self) -> dict[str, Any]:
        names = ("num_prompts", "num_samples", "num_tokens", "num_surplus", "num_resampled")
        return {**{name: self._counts[name] for name in names}, "finish_reasons": dict(self._reasons)}


def _settings(config: Config) -> dict[str, Any]:
    settings = {**sampling_settings(config.teacher), "seed": config.run.seed, "model": teacher_identity(config)}
    if config.teacher.kind == "recorded":
        settings |= {"files": fingerprints(config.teacher.recorded.files, key="teacher.recorded.files")}
    if config.teacher.accepted_per_prompt is not None:
        settings |= {**grading_settings(config), "accepted": dataclasses.asdict(Acceptance.of(config.curate))}
    return settings


def _run(context: StageContext) -> dict[str, Any]:
    work = functools.partial(
        generate,
        context.config.teacher,
        verify=context.config.verify,
        curate=context.config.curate,
        seed=context.config.run.seed,
        max_failure_share=context.config.run.max_failure_share,
        prompts=context.folder("prompts"),
        run=context.run,
        out=context.out,
    )
    return retry_failed("generate", work)


STAGE = Stage("generate", version=4, needs=(TRAINED,), settings=_settings, run=_run)
