"""What every reader yields: a row and its place in the file, or the error in it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from stillery.errors import UserError


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a source; `where` names it for a person, such as `train.jsonl line 12`.

    `is_typed`: whether numbers and texts can be told apart, which CSV cannot.
    """

    where: str
    values: Mapping[str, Any]
    is_typed: bool = True


@dataclass(frozen=True, slots=True)
class Unreadable:
    """Stands for a cell that is there but has no value, and says why; only a column that is read makes it a fault."""

    why: str


class RowError(UserError):
    """A row that cannot be used. `reason` is what such rows are counted by; the text names the row and the remedy."""

    def __init__(self, where: str, reason: str, text: str) -> None:
        super().__init__(f"{where}: {text}")
        self.reason = reason


def kind_of(value: Any) -> str:
    """The type of a value with its article: `a list`, `an object`."""
    names = {dict: "an object", list: "a list", str: "a text", int: "an integer", float: "a number", bool: "a boolean"}
    return names.get(cast(type[Any], type(value)), "null" if value is None else f"a {type(value).__name__}")
