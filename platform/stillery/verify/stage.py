"""The verify stage: generation files and prompts -> verdict files. The one file of this package that touches Ray.

The work is done by Ray actors that own a `GradingPool` each. One checks thousands of answers a second; more are for
clusters whose engines together write faster. Verdicts come back in the order of the generation files.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import count
from typing import Any

import pyarrow as pa

from stillery import records
from stillery.config import VerifyConfig
from stillery.errors import UserError
from stillery.records import Generation, Prompt, Verdict
from stillery.storage import Folder
from stillery.verify.judge import Job
from stillery.verify.pool import GradingPool
from stillery.verify.template import OPEN_THINK

VERSION = 2

ROWS_PER_FILE = 20_000
ROWS_PER_BATCH = 1024

# What a verdict depends on; the other columns are not read.
GRADED_COLUMNS = ["sample_id", "prompt_id", "rendered", "completion", "finish_reason", "error"]


def verify_generations(
    config: VerifyConfig, *, generations: Folder, prompts: Folder, out: Folder
) -> dict[str, dict[str, int]]:
    """Write one verdict per generation into `out` (verdicts-00000.parquet, … of 20,000 rows) and count them.

    Returns {"verdicts": {kind: rows}, "templates": {state: rows}, "flags": {flag: rows}}. Needs a running Ray.
    Raises UserError where a generation's prompt is not among the prompts.
    """
    names = generations.names(".parquet")
    summary = {"verdicts": Counter[str](), "templates": Counter[str](), "flags": Counter[str]()}
    numbers = count()
    for table in _verified(config, generations, names, prompts) if names else [records.to_table([], Verdict)]:
        out.write_table(f"verdicts-{next(numbers):05d}.parquet", table)
        summary["verdicts"].update(table["verdict"].to_pylist())
        summary["templates"].update(table["template"].to_pylist())
        summary["flags"].update(flag for flags in table["flags"].to_pylist() for flag in flags)
    return {key: dict(sorted(counts.items())) for key, counts in summary.items()}


def grade_rows(
    config: VerifyConfig,
    generations: Sequence[Generation] | pa.Table,
    prompts_by_id: Mapping[str, Prompt],
) -> list[Verdict]:
    """The verdicts of generations, in their order, by a pool of this process, without Ray."""
    if isinstance(generations, pa.Table):
        generations = records.from_table(generations, Generation)
    rows = ({name: getattr(row, name) for name in GRADED_COLUMNS} for row in generations)
    with GradingPool(num_processes=config.num_processes, deadline_s=config.deadline_s) as pool:
        return list(pool.grade_many(job_of(row, prompts_by_id) for row in rows))


def job_of(row: Mapping[str, Any], prompts_by_id: Mapping[str, Prompt]) -> Job:
    """What there is to grade in one generation."""
    prompt = prompts_by_id.get(row["prompt_id"])
    if prompt is None:
        raise UserError(
            f"generation {row['sample_id']} is of prompt {row['prompt_id']}, which is not among the prompts: "
            "verify it with the prompts it was made from"
        )
    return Job(
        completion=row["completion"],
        answer=prompt.answer,
        answer_kind=prompt.answer_kind,
        choices=tuple(prompt.choices),
        finish_reason=row["finish_reason"],
        prefilled_think=row["rendered"].rstrip().endswith(OPEN_THINK),
        question=prompt.question,
        sample_id=row["sample_id"],
        prompt_id=row["prompt_id"],
        error=row["error"],
    )


class _Grader:
    """The Ray actor: a batch of generations in, their verdicts out."""

    def __init__(self, config: VerifyConfig, prompts: Any) -> None:
        import ray

        self._prompts_by_id: dict[str, Prompt] = ray.get(prompts)
        self._pool = GradingPool(num_processes=config.num_processes, deadline_s=config.deadline_s)

    def __call__(self, batch: pa.Table) -> pa.Table:
        jobs = (job_of(row, self._prompts_by_id) for row in batch.to_pylist())
        return records.to_table(list(self._pool.grade_many(jobs)), Verdict)


def _verified(config: VerifyConfig, generations: Folder, names: list[str], prompts: Folder) -> Any:
    """Tables of 20,000 verdicts, in the order of the generations, as Ray Data makes them."""
    import ray

    by_id = {p.prompt_id: p for p in records.from_table(prompts.read_all(Prompt), Prompt)}
    fs, path = generations.open_fs()
    # Reading takes a fraction of a CPU and so does the actor: whole ones would wait for each other on two cores.
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
