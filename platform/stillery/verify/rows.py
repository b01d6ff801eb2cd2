"""Grades table rows of generations, in this process."""

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from stillery import records
from stillery.config import VerifyConfig
from stillery.errors import UserError
from stillery.records import Generation, Prompt, Verdict
from stillery.thinking import opens_thinking
from stillery.verify.judge import NO_SAMPLE, GradingTask
from stillery.verify.pool import GradingPool

# The version of the verification policy: raised when a verdict may change.
VERSION = 4

# The columns that a verdict depends on; the others are not read.
GRADED_COLUMNS = ["sample_id", "prompt_id", "rendered", "completion", "finish_reason", "error"]


def why_failed(detail: str | None, verdict: str) -> str:
    """The reason of a failed verdict, for counting."""
    return (detail or verdict).removeprefix(NO_SAMPLE).strip()


def grade_rows(
    config: VerifyConfig,
    generations: Sequence[Generation] | pa.Table,
    prompts_by_id: Mapping[str, Prompt],
) -> list[Verdict]:
    """The verdicts of generations, in their order, by a pool of this process, without Ray."""
    if isinstance(generations, pa.Table):
        generations = records.from_table(generations, Generation)
    rows = ({name: getattr(row, name) for name in GRADED_COLUMNS} for row in generations)
    with open_pool(config) as pool:
        return list(pool.grade_many(job_of(row, prompts_by_id, config) for row in rows))


def open_pool(config: VerifyConfig) -> GradingPool:
    """The grading pool that a config sets up; it starts its processes when they are needed."""
    return GradingPool(num_processes=config.num_processes, deadline_s=config.deadline_s, code=config.code)


def job_of(row: Mapping[str, Any], prompts_by_id: Mapping[str, Prompt], config: VerifyConfig) -> GradingTask:
    """The grading task of one generation."""
    prompt = prompts_by_id.get(row["prompt_id"])
    if prompt is None:
        raise UserError(
            f"generation {row['sample_id']} is of prompt {row['prompt_id']}, which is not among the prompts: "
            "verify it with the prompts it was made from"
        )
    return GradingTask(
        completion=row["completion"],
        answer=prompt.answer,
        answer_kind=prompt.answer_kind,
        choices=tuple(prompt.choices),
        finish_reason=row["finish_reason"],
        prefilled_think=opens_thinking(row["rendered"]),
        question=prompt.question,
        sample_id=row["sample_id"],
        prompt_id=row["prompt_id"],
        error=row["error"],
        task=prompt.task,
        function=config.function,
    )
