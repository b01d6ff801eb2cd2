"""Measure a model on the generators' problems: pass@1, pass@k and what its checks achieve.

`python -m stillery.tiny_models.evaluate MODEL` prints one table a bucket, in the Markdown that model cards hold. An
answer is right if the text between the answer tags is the gold answer to the letter.
"""

import argparse
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from stillery.problems.buckets import Bucket, draw
from stillery.problems.problems import Problem
from stillery.problems.tasks import HELD_OUT_TASK, TASKS

_ANSWER = re.compile(r"<answer>([^<]*)</answer>\Z")
# An operation at the end of a line, and the verdict of a check that fails.
_STEP = re.compile(r"(\d+) ([-+*/]) (\d+) = (\d+)\Z")
_REJECTED = re.compile(r", no\Z")


def problems_for(bucket: Bucket, *, per_task: int, seed: int) -> list[Problem]:
    """This many problems of each task in a bucket."""
    tasks = [HELD_OUT_TASK] if bucket == Bucket.HELD_OUT else [t for t in TASKS if t != HELD_OUT_TASK]
    return [p for task in tasks for p in draw(bucket, task=task, count=per_task, seed=seed)]


def sample(model: Path, problems: Sequence[Problem], *, samples: int, seed: int, max_tokens: int) -> list[list[str]]:
    """`samples` completions of each problem at temperature 1, by vLLM in this process."""
    from stillery.config import EngineConfig
    from stillery.sampling.backends.vllm import load_engine
    from stillery.tiny_models.tokenizer import render_prompt

    config = EngineConfig(threads=2, engine={"max_num_seqs": 512, "max_model_len": 1024, "seed": seed})
    engine = load_engine(str(model), config)
    from vllm import SamplingParams

    sampling = SamplingParams(n=samples, temperature=1.0, max_tokens=max_tokens, seed=seed)
    outputs = engine.generate([render_prompt(p.question) for p in problems], sampling, use_tqdm=False)
    return [[completion.text for completion in output.outputs] for output in outputs]


def is_right(completion: str, problem: Problem) -> bool:
    """Whether the completion ends in the gold answer."""
    match = _ANSWER.search(completion)
    return match is not None and match[1] == problem.answer


@dataclass(frozen=True, slots=True)
class TaskScores:
    """The totals of the samples of some problems. `solved` are problems with at least one right sample; `corrections`
    are samples that retract a value, `corrected_right` those of them that end right."""

    num_problems: int
    num_samples: int
    num_right: int
    solved: int
    corrections: int
    corrected_right: int
    mean_characters: float
    checks: "Checks"


@dataclass(frozen=True, slots=True)
class Checks:
    """The effect of the checks of arithmetic steps: how many steps are wrong, how many of these are followed by a
    check, how many of those it finds wrong; and how many right steps it retracts."""

    num_steps: int = 0
    wrong: int = 0
    wrong_checked: int = 0
    wrong_caught: int = 0
    right_checked: int = 0
    right_taken_back: int = 0

    def __add__(self, other: "Checks") -> "Checks":
        return Checks(*(getattr(self, name) + getattr(other, name) for name in self.__slots__))


def checks_of(completion: str) -> Checks:
    """Count the lines that end in `a op b = c`, and the verdict of the next line on each."""
    lines = completion.splitlines()
    total = Checks()
    for line, after in zip(lines, [*lines[1:], ""], strict=True):
        step = _STEP.search(line)
        if step is None or line.startswith(("check", "maybe")):
            continue
        left, operator, right, result = int(step[1]), step[2], int(step[3]), int(step[4])
        made = {"+": left + right, "-": left - right, "*": left * right, "/": left / right if right else None}[operator]
        is_right, is_checked = made == result, after.startswith("check:")
        is_caught = is_checked and _REJECTED.search(after) is not None
        total += Checks(
            1, not is_right, not is_right and is_checked, not is_right and is_caught, is_right and is_checked,
            is_right and is_caught,
        )  # fmt: skip
    return total


def score(problems: Sequence[Problem], completions: Sequence[Sequence[str]]) -> dict[str, TaskScores]:
    """The scores of each task, and of `all`."""
    rows: dict[str, TaskScores] = {}
    for task in (*dict.fromkeys(p.task for p in problems), "all"):
        groups = [(p, t) for p, t in zip(problems, completions, strict=True) if task in (p.task, "all")]
        samples = [(text, is_right(text, problem)) for problem, texts in groups for text in texts]
        redone = [right for text, right in samples if "wait, redo" in text]
        rows[task] = TaskScores(
            num_problems=len(groups),
            num_samples=len(samples),
            num_right=sum(right for _, right in samples),
            solved=sum(any(is_right(text, problem) for text in texts) for problem, texts in groups),
            corrections=len(redone),
            corrected_right=sum(redone),
            mean_characters=sum(len(text) for text, _ in samples) / len(samples),
            checks=sum((checks_of(text) for text, _ in samples), Checks()),
        )
    return rows


def format_table(rows: Mapping[str, TaskScores]) -> str:
    """Scores as a Markdown table."""
    num_samples = rows["all"].num_samples // rows["all"].num_problems
    lines = [
        f"| task | problems | pass@1 | pass@{num_samples} | corrections | of them right | characters |",
        "|---|---|---|---|---|---|---|",
    ]
    for task, r in rows.items():
        lines.append(
            f"| {task} | {r.num_problems} | {r.num_right / r.num_samples:.3f} | {r.solved / r.num_problems:.3f} "
            f"| {r.corrections} of {r.num_samples} | {r.corrected_right} | {r.mean_characters:.0f} |"
        )
    c = rows["all"].checks
    lines.append(
        f"\nOf {c.num_steps:,} arithmetic steps {c.wrong} are wrong; {c.wrong_checked} of these are checked, and "
        f"{c.wrong_caught} caught. Of {c.right_checked} checked right steps {c.right_taken_back} are taken back."
    )
    return "\n".join(lines)


def main() -> None:
    """Parse the command line, sample, print the tables, and save the completions if requested."""
    parser = argparse.ArgumentParser(prog="python -m stillery.tiny_models.evaluate", description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("--buckets", nargs="+", default=["calibration"], choices=[b.value for b in Bucket])
    parser.add_argument("--per-task", type=int, default=50)
    parser.add_argument("--samples", type=int, default=8)
    parser.add_argument("--max-tokens", type=int, default=512)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--completions", type=Path, help="JSON Lines file that gets every completion")
    options = parser.parse_args()
    drawn = {b: problems_for(Bucket(b), per_task=options.per_task, seed=options.seed) for b in options.buckets}
    problems = [p for bucket in drawn.values() for p in bucket]
    texts = sample(options.model, problems, samples=options.samples, seed=options.seed, max_tokens=options.max_tokens)
    start = 0
    for bucket, asked in drawn.items():
        print(f"\n{bucket}\n\n{format_table(score(asked, texts[start : start + len(asked)]))}")
        start += len(asked)
    if options.completions:
        lines = [
            json.dumps({"task": p.task, "steps": p.num_steps, "question": p.question, "answer": p.answer, "texts": t})
            for p, t in zip(problems, texts, strict=True)
        ]
        options.completions.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
