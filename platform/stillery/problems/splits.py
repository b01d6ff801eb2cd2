"""Splits: removes duplicates within and across them.

In: the problems of each split, with their places of origin. Out: the same without duplicates, within a split or across
splits, each counted; a student must not be measured on its training problems.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from stillery.errors import UserError
from stillery.io.readers.rows import RowError
from stillery.io.readers.skipped_rows import SkippedRows
from stillery.problems.problem_rows import Placed
from stillery.records import AnswerKind, Prompt, Split, digest
from stillery.verify.choices import choice_of
from stillery.verify.compare import compare

_MEASURED_FIRST = (Split.TEST, Split.VALIDATION, Split.TRAIN)
_SHOWN_CHARS = 60


def drop_repeated(problems: Sequence[Placed], *, left_out: SkippedRows) -> list[Placed]:
    """The first of equal problems, and of those with the same prompt_id. If the same problem has different answers none
    of them is kept: one is wrong, and nothing says which."""
    groups: dict[str, list[Placed]] = {}
    for placed in problems:
        groups.setdefault(placed.key, []).append(placed)
    kept: list[Placed] = []
    ids: dict[str, str] = {}
    for group in groups.values():
        first, *others = group
        other = next((p for p in others if not _may_be_same(first.prompt, p.prompt)), None)
        for placed in others:
            said = f"the same question as {first.where}"
            if other is None:
                left_out.add(RowError(placed.where, "duplicate question", f"{said}; remove one of them"))
            else:
                left_out.add(_conflict(placed, first, said))
        if other is not None:
            left_out.add(_conflict(first, other, f"the same question as {other.where}"))
            continue
        if (place := ids.setdefault(first.prompt.prompt_id, first.where)) != first.where:
            left_out.add(RowError(first.where, "duplicate prompt_id", f"the same prompt_id as {place}; remove one"))
            continue
        kept.append(first)
    return kept


def drop_shared(
    splits: Mapping[Split, Sequence[Placed]], *, left_out: Mapping[Split, SkippedRows]
) -> dict[Split, list[Placed]]:
    """The splits, without training problems that are also in validation or test, and without validation problems that
    are also in test. A prompt_id shared by two different problems counts likewise: later tables are joined by it."""
    kept: dict[Split, list[Placed]] = {}
    places: dict[str, tuple[Split, str]] = {}
    for split in _MEASURED_FIRST:
        if split not in splits:
            continue
        kept[split] = []
        for placed in splits[split]:
            by_question, by_id = places.get(f"q {placed.key}"), places.get(f"i {placed.prompt.prompt_id}")
            if by_question is not None:
                other, where = by_question
                text = (
                    f"contamination: this {split} problem is in the {other} split too, at {where}: "
                    f"{placed.prompt.question[:_SHOWN_CHARS]!r}; remove it from {split}"
                )
                left_out[split].add(RowError(placed.where, f"in the {other} split too", text))
            elif by_id is not None:
                text = f"the prompt_id of another problem, of {by_id[0]} at {by_id[1]}; make ids unique, or map none"
                left_out[split].add(RowError(placed.where, "prompt_id of another split", text))
            else:
                kept[split].append(placed)
        for placed in kept[split]:
            places[f"q {placed.key}"] = places[f"i {placed.prompt.prompt_id}"] = split, placed.where
    return kept


def carve_validation(train: Sequence[Placed], *, fraction: float) -> tuple[list[Placed], list[Placed]]:
    """(train, validation): about `fraction` of the problems, at least one and never all, become validation.

    The choice depends only on the hash of each question, so a problem stays in its split when others are added. Raises
    UserError if there are fewer than two problems.
    """
    if len(train) < 2:
        raise UserError(
            f"{train[0].where}: one training problem cannot be split into training and validation; "
            "give more, or set prompts.validation"
        )
    positions = {placed.prompt.prompt_id: _position(placed) for placed in train}
    ranked = sorted(positions, key=lambda prompt_id: positions[prompt_id])
    num_below = sum(position < fraction for position in positions.values())
    chosen = set(ranked[: min(max(num_below, 1), len(train) - 1)])
    validation = [
        replace(p, prompt=replace(p.prompt, split=Split.VALIDATION)) for p in train if p.prompt.prompt_id in chosen
    ]
    return [p for p in train if p.prompt.prompt_id not in chosen], validation


def _conflict(placed: Placed, other: Placed, said: str) -> RowError:
    answers = f"{placed.prompt.answer!r} here, {other.prompt.answer!r} there"
    return RowError(placed.where, "conflicting answers", f"{said} with another answer ({answers}); keep the right one")


def _may_be_same(first: Prompt, second: Prompt) -> bool:
    """Whether two gold answers of one question could be the same: exact comparison finds no difference."""
    mine, theirs = _named(first), _named(second)
    if mine is None or theirs is None or mine == theirs:
        return mine == theirs
    return compare(theirs, mine, answer_kind=AnswerKind(first.answer_kind), choices=first.choices) is not False


def _named(prompt: Prompt) -> str | None:
    """The answer; for a choice its text, since the other row may have the choices in another order."""
    letter = choice_of(prompt.answer, prompt.choices) if prompt.answer is not None and prompt.choices else None
    return prompt.answer if letter is None else prompt.choices[ord(letter) - ord("A")]


def _position(placed: Placed) -> float:
    """A number in [0, 1), distributed evenly over questions."""
    return int(digest("validation", placed.key)[:8], 16) / 2**32
