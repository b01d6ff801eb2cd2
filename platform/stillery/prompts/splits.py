"""Splits: one problem is in one of them.

In: the problems of each split, with the places they came from. Out: the same as prompts of train, validation and
test, after the checks that keep a measurement honest: no problem twice, none of them on both sides.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from stillery.errors import UserError
from stillery.records import Prompt, Split, digest


@dataclass(frozen=True, slots=True)
class Placed:
    """A problem and the place it came from."""

    prompt: Prompt
    where: str


def check_unique(problems: Sequence[Placed]) -> None:
    """Raise UserError, naming both rows, if a split has a problem or a prompt_id twice."""
    seen: dict[str, str] = {}
    for placed in problems:
        for what, key in (("question", question_key(placed.prompt)), ("prompt_id", placed.prompt.prompt_id)):
            first = seen.setdefault(f"{what} {key}", placed.where)
            if first != placed.where:
                raise UserError(f"{placed.where}: the same {what} as {first}; remove one of them")


def check_disjoint_splits(splits: Mapping[Split, Sequence[Placed]]) -> None:
    """Raise UserError, with the count and the first example, if a problem is in two splits: what a student trains
    on must not be what it is measured on."""
    order = [s for s in (Split.TEST, Split.VALIDATION, Split.TRAIN) if s in splits]
    for position, measured in enumerate(order):
        places = {question_key(p.prompt): p.where for p in splits[measured]}
        for other in order[position + 1 :]:
            shared = [p for p in splits[other] if question_key(p.prompt) in places]
            if shared:
                example = shared[0]
                raise UserError(
                    f"contamination: {len(shared)} {measured} problem(s) are in the {other} split too, the first at "
                    f"{places[question_key(example.prompt)]} and {example.where}: "
                    f"{example.prompt.question[:60]!r}; remove them from {other}"
                )


def carve_validation(train: Sequence[Placed], *, fraction: float) -> tuple[list[Placed], list[Placed]]:
    """(train, validation): about `fraction` of the problems, at least one and never all, become validation.

    Which ones depends on the hash of each question alone, so a problem stays where it is when others are added.
    Raises UserError if there are fewer than two problems.
    """
    if len(train) < 2:
        raise UserError(
            f"{train[0].where}: one training problem cannot be split into training and validation; "
            "give more, or set prompts.validation"
        )
    ranked = sorted(train, key=lambda placed: _position(placed.prompt))
    num_below = sum(_position(placed.prompt) < fraction for placed in ranked)
    chosen = {p.prompt.prompt_id for p in ranked[: min(max(num_below, 1), len(train) - 1)]}
    validation = [
        replace(p, prompt=replace(p.prompt, split=Split.VALIDATION)) for p in train if p.prompt.prompt_id in chosen
    ]
    return [p for p in train if p.prompt.prompt_id not in chosen], validation


def question_key(prompt: Prompt) -> str:
    """What makes two problems the same: the question without case and spacing, and the choices."""
    return digest(" ".join(prompt.question.split()).casefold(), prompt.choices)


def _position(prompt: Prompt) -> float:
    """A number in [0, 1) that is spread evenly over questions."""
    return int(digest("validation", question_key(prompt))[:8], 16) / 2**32
