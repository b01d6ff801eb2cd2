"""Turns TRL's reward arguments into one row per completion, and checks a reward's return values."""

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from stillery.errors import UserError
from stillery.thinking import opens_thinking
from stillery.verify.compare import AUTO

Rewards = list[float | None]
Reward = Callable[..., Sequence[float | None]]


@dataclass(frozen=True, slots=True)
class RewardRow:
    """One completion, with the dataset's columns for its problem. All fields are hashable."""

    completion: str
    question: str = ""
    answer: str | None = None
    answer_kind: str = AUTO
    choices: tuple[str, ...] = ()
    teacher_length: float | None = None
    teacher_steps: int = 0
    prefilled_think: bool = False
    task: str = ""
    verify_function: str | None = None
    finish_reason: str | None = None


def read_rows(
    reward: str, prompts: Sequence[Any], completions: Sequence[Any], columns: Mapping[str, Any], *, needs: str = ""
) -> list[RewardRow]:
    """The rows of a batch.

    Raises UserError, naming the reward, for a required column that is missing, and for columns whose length differs
    from the number of completions.
    """
    if needs and needs not in columns:
        raise UserError(f"reward {reward} needs the column {needs!r}; add it to the training dataset")
    known = [name for name in RewardRow.__slots__ if name != "completion" and columns.get(name) is not None]
    for name, values in (("prompts", prompts), *((name, columns[name]) for name in known)):
        if len(values) != len(completions):
            raise UserError(f"reward {reward}: {len(values)} {name} for {len(completions)} completions")
    return [
        _read_row(completions[i], prompts[i], {name: columns[name][i] for name in known})
        for i in range(len(completions))
    ]


def _read_row(completion: Any, prompt: Any, given: Mapping[str, Any]) -> RewardRow:
    opened, function = given.get("prefilled_think"), given.get("verify_function")
    ended = given.get("finish_reason")
    length = given.get("teacher_length")
    answer = given.get("answer")
    return RewardRow(
        completion=text_of(completion),
        question=str(given.get("question") or ""),
        answer=None if answer is None else str(answer),
        answer_kind=str(given.get("answer_kind") or AUTO),
        choices=tuple(map(str, given.get("choices") or ())),
        teacher_length=None if length is None else float(length),
        teacher_steps=int(given.get("teacher_steps") or 0),
        prefilled_think=bool(opened) if opened is not None else isinstance(prompt, str) and opens_thinking(prompt),
        task=str(given.get("task") or ""),
        verify_function=None if function is None else str(function),
        finish_reason=None if ended is None else str(ended),
    )


def text_of(completion: Any) -> str:
    """The text of a completion: a string, or the contents of a list of messages (strings, or parts with text)."""
    if isinstance(completion, str):
        return completion
    if isinstance(completion, Mapping):
        content = cast(Mapping[str, Any], completion).get("content")
        return text_of(content if content is not None else cast(Mapping[str, Any], completion).get("text") or "")
    return "".join(text_of(part) for part in completion)


def guarded(reward: Reward) -> Reward:
    """A reward whose errors name the reward. It keeps the reward's name, and pickles if the reward does.

    It raises UserError where the reward raises, returns a number of values other than that of the completions, or a
    value that is neither None nor a finite number.
    """
    return _Guarded(reward)


class _Guarded:
    def __init__(self, reward: Reward) -> None:
        self._reward = reward
        self.__name__ = _name_of(reward)

    def __call__(self, prompts: Sequence[Any], completions: Sequence[Any], **columns: Any) -> Rewards:
        try:
            values = list(self._reward(prompts=prompts, completions=completions, **columns))
        except UserError:
            raise
        except Exception as error:
            raise UserError(f"reward {self.__name__} failed: {type(error).__name__}: {error}") from error
        return checked(self.__name__, values, len(completions))


def checked(reward: str, values: Sequence[float | None], expected: int) -> Rewards:
    """The values of a reward, each None or a finite number, one per completion; UserError, naming the reward, if
    not."""
    if len(values) != expected:
        raise UserError(f"reward {reward} returned {len(values)} values for {expected} completions")
    for i, value in enumerate(values):
        if value is not None and not math.isfinite(value):
            raise UserError(f"reward {reward} is {value} for completion {i}; it must be a finite number or None")
    return list(values)


def _name_of(reward: Reward) -> str:
    while isinstance(reward, functools.partial):
        reward = reward.func
    return getattr(reward, "__name__", type(reward).__name__)
