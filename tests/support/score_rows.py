"""Rows of evaluated samples for tests: short to write, complete, and of the real record type."""

from typing import Any

from stillery.records import Score

RIGHT = "<think>\nx + 3 = 10, so x = 10 - 3 = 7\ncheck: 7 + 3 = 10, ok\n</think>\n<answer>7</answer>"
WRONG = "<answer>4</answer>"


def make_score(problem: str, index: int = 0, *, correct: bool = True, **changes: Any) -> Score:
    """One sample of one problem; `changes` are fields of Score that differ from a plain right or wrong sample."""
    fields: dict[str, Any] = {
        "model": "student",
        "prompt_id": problem,
        "sample_id": f"{problem}-{index}",
        "sample_index": index,
        "task": "equations",
        "split": "test",
        "num_steps": 2,
        "question": f"Problem {problem}: solve x + 3 = 10 for x.",
        "gold": "7",
        "completion": RIGHT if correct else WRONG,
        "predicted": "7" if correct else "4",
        "verdict": "correct" if correct else "wrong",
        "template": "ok" if correct else "no_think",
        "num_tokens": 40 if correct else 5,
        "finish_reason": "stop",
    }
    return Score(**(fields | changes))


def make_scores(problem: str, outcomes: str, **changes: Any) -> list[Score]:
    """The samples of one problem, one per letter of `outcomes`: `+` for a correct one and `-` for a wrong one."""
    return [make_score(problem, i, correct=sign == "+", **changes) for i, sign in enumerate(outcomes)]
