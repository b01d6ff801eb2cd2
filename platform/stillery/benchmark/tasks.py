"""The benchmarks: for each a set of problems, its prompt and its sampling settings.

`samples` and `sampling` are those of commonly quoted results of reasoning models: DeepSeek-R1 (arXiv 2501.12948,
section 3) samples at temperature 0.6 and top-p 0.95 with at most 32,768 tokens, 64 times per problem where there are
few.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from stillery.config import suggest
from stillery.errors import UserError
from stillery.problems.standard_sets import STANDARD_SETS, StandardSet, find_set

# Before each question, as recommended by DeepSeek-R1 and Qwen for mathematics.
BOXED = r"Please reason step by step, and put your final answer within \boxed{}."
_LETTER = r"Please reason step by step, and put the letter of the right choice within \boxed{}."

_QUOTED: dict[str, Any] = {"temperature": 0.6, "top_p": 0.95, "max_tokens": 32_768}
GREEDY: dict[str, Any] = {"temperature": 0.0, "max_tokens": 32_768}


@dataclass(frozen=True, slots=True)
class Task:
    """A benchmark: its problems, and their prompt and sampling settings."""

    problems: StandardSet
    instruction: str = BOXED
    samples: int = 1
    sampling: Mapping[str, Any] = field(default_factory=lambda: dict(GREEDY))

    @property
    def name(self) -> str:
        return self.problems.name


TASKS: dict[str, Task] = {
    task.name: task
    for task in (
        Task(STANDARD_SETS["gsm8k"]),
        Task(STANDARD_SETS["math500"], samples=4, sampling=_QUOTED),
        Task(STANDARD_SETS["aime24"], samples=64, sampling=_QUOTED),
        Task(STANDARD_SETS["aime25"], samples=64, sampling=_QUOTED),
        Task(STANDARD_SETS["gpqa"], instruction=_LETTER, samples=8, sampling=_QUOTED),
        Task(STANDARD_SETS["mmlu"], instruction=_LETTER),
        Task(STANDARD_SETS["arc_challenge"], instruction=_LETTER),
    )
}


def find_tasks(names: str, *, own: list[str]) -> list[Task]:
    """The tasks of a comma-separated list; `own` are the names of files in the user's folder, which may be the user's
    own tasks, with columns `question` and `answer`.

    Raises UserError for a name that is neither, and for an empty list.
    """
    chosen = list(dict.fromkeys(name.strip() for name in names.split(",") if name.strip()))
    if not chosen:
        raise UserError(f"--tasks: name one or more of {', '.join(TASKS)}, or files of the --data folder")
    return list({task.name: task for task in (_find_task(name, own) for name in chosen)}.values())


def _find_task(name: str, own: list[str]) -> Task:
    known = find_set(name)
    if known is not None and known.name in TASKS:
        return TASKS[known.name]
    if name in own:
        return Task(StandardSet(name))
    if known is not None:
        raise UserError(
            f"--tasks: {known.name} is known to keep its problems out of training alone, and is not measured here: its "
            "hidden tests are not read"
        )
    there = f"; --data holds {', '.join(own)}" if own else ""
    raise UserError(f"--tasks: no task {name!r}{suggest(name, [*TASKS, *own])}{there}")
