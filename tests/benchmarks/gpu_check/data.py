"""Problems and traces of the embedded tasks, for training and prompting in the paths."""

from pathlib import Path
from typing import Any

from stillery.config import SftConfig
from stillery.io.storage import Folder
from stillery.problems.buckets import Bucket
from stillery.problems.problems import Problem
from stillery.records import Message, Sample, Split
from stillery.sampling.chat.checkpoint import open_student
from stillery.sampling.chat.conversation import student_format
from stillery.tiny_models.evaluate import problems_for
from stillery.tiny_models.traces import write_trace
from stillery.training.data import keep_shards, open_shards, prepare_file

# So small a model learns these traces by heart within a minute.
LEAST_FALL = 0.3


def unseen_problems(per_task: int) -> list[Problem]:
    """Problems of the test split, of all trained tasks by turns."""
    tasks: dict[str, list[Problem]] = {}
    for problem in problems_for(Bucket.TEST, per_task=per_task, seed=0):
        tasks.setdefault(problem.task, []).append(problem)
    return [problem for group in zip(*tasks.values(), strict=True) for problem in group]


def training_samples(per_task: int, *, validated: int = 0) -> list[Sample]:
    """Rows as curation writes them, with traces of the generators' own; of each task the first `validated` are for
    validation."""
    splits = [Split.VALIDATION] * validated + [Split.TRAIN] * (per_task - validated)
    problems = problems_for(Bucket.DISTILL, per_task=per_task, seed=0)
    return [_sample(problem, i, splits[i % per_task]) for i, problem in enumerate(problems)]


def prepared_rows(config: SftConfig, folder: Path, *, per_task: int) -> tuple[Any, Any, Any]:
    """Rows to train on as the stage prepares them, without Ray, in a folder; with the student's conversation and the
    end of its turns."""
    chat, root, name = student_format(config), Folder(str(folder)), "samples-00000.parquet"
    conversation, end = open_student(chat)
    (root / "samples").write_rows(name, training_samples(per_task), Sample)
    prepare_file(name, config=config, chat=chat, samples=root / "samples", data=root / "data")
    keep_shards(root / "data", "train", folder / "train.arrow")
    return open_shards(folder / "train.arrow"), conversation, end


def _sample(problem: Problem, number: int, split: str) -> Sample:
    return Sample(
        sample_id=f"sample-{number}",
        prompt_id=f"prompt-{number}",
        task=problem.task,
        split=split,
        prompt=[Message("user", problem.question)],
        completion=[Message("assistant", write_trace(problem, seed=number, style="terse").text)],
        weights=[],
        part="reasoning",
        teacher="generator",
    )
