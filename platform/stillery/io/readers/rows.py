"""The output of every reader: a row and its position in the file, or the error in it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from stillery.errors import UserError


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a source; `where` names it in messages, such as `train.jsonl line 12`.

    `is_typed`: whether numbers and texts are distinguishable, which they are not in CSV.
    """

    where: str
    values: Mapping[str, Any]
    is_typed: bool = True


@dataclass(frozen=True, slots=True)
class Unreadable:
    """Stands for a cell that exists but has no value, with the reason; it is an error only if its column is read."""

    why: str


class RowError(UserError):
    """An unusable row. Such rows are counted by `reason`; the text names the row and the remedy."""

    def __init__(self, where: str, reason: str, text: str) -> None:
        super().__init__(f"{where}: {text}")
        self.reason = reason


def kind_of(value: Any) -> str:
    """The type of a value with its article: `a list`, `an object`."""
    names = {dict: "an object", list: "a list", str: "a text", int: "an integer", float: "a number", bool: "a boolean"}
    return names.get(cast(type[Any], type(value)), "null" if value is None else f"a {type(value).__name__}")
