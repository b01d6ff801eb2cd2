"""The benchmarks that are known by name: where their problems are, how a model is asked, and how it is sampled.

`samples` and `sampling` are those that reasoning models are usually quoted with: DeepSeek-R1 (arXiv 2501.12948, section
3) samples at temperature 0.6 and top-p 0.95 with at most 32,768 tokens, 64 times a problem where there are few.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from stillery.config import suggest
from stillery.errors import UserError

# Before each question, as DeepSeek-R1 and Qwen recommend it for mathematics.
BOXED = r"Please reason step by step, and put your final answer within \boxed{}."
_LETTER = r"Please reason step by step, and put the letter of the right choice within \boxed{}."

_QUOTED: dict[str, Any] = {"temperature": 0.6, "top_p": 0.95, "max_tokens": 32_768}
GREEDY: dict[str, Any] = {"temperature": 0.0, "max_tokens": 32_768}


@dataclass(frozen=True, slots=True)
class Task:
    """A benchmark. `dataset`, `subset` and `split` are its place on the Hugging Face Hub (None: only in a folder),
    `columns` our names to theirs, `answer_format` and `answer_kind` as in the config's section `prompts`; `wrong` are
    the columns of wrong choices where there is no column of choices."""

    name: str
    dataset: str | None = None
    subset: str | None = None
    split: str = "test"
    columns: Mapping[str, str] = field(default_factory=dict[str, str])
    answer_format: str = "text"
    answer_kind: str = "auto"
    wrong: tuple[str, ...] = ()
    instruction: str = BOXED
    samples: int = 1
    sampling: Mapping[str, Any] = field(default_factory=lambda: dict(GREEDY))


_MATHS = {"question": "problem", "answer": "answer"}
TASKS: dict[str, Task] = {
    task.name: task
    for task in (
        Task("gsm8k", "openai/gsm8k", "main", answer_format="hash", answer_kind="number"),
        Task("math500", "HuggingFaceH4/MATH-500", columns=_MATHS, samples=4, sampling=_QUOTED),
        Task("aime24", "HuggingFaceH4/aime_2024", split="train", columns=_MATHS, answer_kind="number", samples=64,
             sampling=_QUOTED),
        Task("aime25", "math-ai/aime25", columns=_MATHS, answer_kind="number", samples=64, sampling=_QUOTED),
        Task("gpqa", "Idavidrein/gpqa", "gpqa_diamond", "train", {"question": "Question", "answer": "Correct Answer"},
             wrong=("Incorrect Answer 1", "Incorrect Answer 2", "Incorrect Answer 3"), answer_kind="choice",
             instruction=_LETTER, samples=8, sampling=_QUOTED),
        Task("mmlu", "cais/mmlu", "all", answer_kind="choice", instruction=_LETTER),
        Task("arc_challenge", "allenai/ai2_arc", "ARC-Challenge", columns={"answer": "answerKey"},
             answer_kind="choice", instruction=_LETTER),
    )
}  # fmt: skip


def find_tasks(names: str, *, own: list[str]) -> list[Task]:
    """The tasks of a comma-separated list; `own` are the names of files in the user's folder, which may be tasks of
    the user's own, with columns `question` and `answer`.

    Raises UserError for a name that is neither, and for an empty list.
    """
    chosen = list(dict.fromkeys(name.strip() for name in names.split(",") if name.strip()))
    if not chosen:
        raise UserError(f"--tasks: name one or more of {', '.join(TASKS)}, or files of the --data folder")
    for name in chosen:
        if name not in TASKS and name not in own:
            there = f"; --data holds {', '.join(own)}" if own else ""
            raise UserError(f"--tasks: no task {name!r}{suggest(name, [*TASKS, *own])}{there}")
    return [TASKS.get(name) or Task(name) for name in chosen]
