"""Parses the parameters of a table's address into a sort order, a page and the conditions of a query."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

from stillery.records import BondKind

ROWS_PER_PAGE = 50
BOND_COLUMNS = {
    BondKind.STRONG_LOGIC: "logic",
    BondKind.REFLECTION: "reflection",
    BondKind.EXPLORATION: "exploration",
}
# Columns of the index by which samples can be sorted and filtered.
_RANGES = ("num_tokens", "stability", "pass_rate", *BOND_COLUMNS.values())
SAMPLE_SORTS = ("place", "task", "verdict", "outcome", "conflict", *_RANGES)
_CHOICES = ("task", "split", "verdict", "finish_reason")
# The outcome of a sample: this, or the reason for which it was dropped; the second stands for any of these reasons.
KEPT, DROPPED = "kept", "dropped"
_MOST_PAGES = 10**9


class BadQueryError(ValueError):
    """An invalid parameter; the text names it and its valid values."""


class QueryParams(dict[str, str]):
    """The parameters of an address; one that is not given is empty."""

    def __missing__(self, name: str) -> str:
        return ""


@dataclass(frozen=True, slots=True)
class TableQuery:
    """The parameters as given, and their meaning. `conditions` are SQL without any text of the address: that is in
    `values`."""

    given: QueryParams
    text: str
    sort: str
    is_descending: bool
    page: int
    conditions: tuple[str, ...] = ()
    values: Mapping[str, Any] = field(default_factory=dict[str, Any])

    @property
    def order(self) -> str:
        """The full order: ties keep their original order, so that no page repeats another's rows."""
        return f"{self.sort} {'DESC' if self.is_descending else 'ASC'} NULLS LAST, place"

    def address(self, **changes: object) -> str:
        """The query string of this table with other parameters; None removes one. Any other change starts at the first
        page."""
        kept = self.given if set(changes) <= {"page"} else {k: v for k, v in self.given.items() if k != "page"}
        return urlencode({name: value for name, value in {**kept, **changes}.items() if value not in (None, "")})

    def sorted_by(self, column: str) -> str:
        """The query string of this table sorted by a column: descending, or ascending if it already is descending."""
        is_reversed = self.sort == column and self.is_descending
        return self.address(sort=column if is_reversed else f"-{column}")


def parse_table(given: Mapping[str, str], *, sorts: Sequence[str]) -> TableQuery:
    """Sort, page and search text. Raises BadQueryError for an invalid sort or page."""
    sort = given.get("sort") or "place"
    if sort.removeprefix("-") not in sorts:
        raise BadQueryError(f"sort={sort}: one of {', '.join(sorts)}, downwards with - before it")
    page = _number("page", given.get("page") or "1")
    if page != int(page) or not 1 <= page <= _MOST_PAGES:
        raise BadQueryError(f"page={given.get('page')}: pages are counted from 1")
    text = (given.get("q") or "").strip()
    return TableQuery(QueryParams(given), text, sort.removeprefix("-"), sort.startswith("-"), int(page))


def parse_samples(given: Mapping[str, str]) -> TableQuery:
    """A query for samples. Raises BadQueryError for an invalid sort, number or page; an unknown name is ignored."""
    conditions: list[str] = []
    values: dict[str, Any] = {}

    def add(name: str, condition: str, value: Any) -> None:
        conditions.append(condition)
        values[name] = value

    for name in _CHOICES:
        if given.get(name):
            add(name, f"{name} = ${name}", given[name])
    if given.get("flag"):
        add("flag", "list_contains(flags, $flag)", given["flag"])
    if given.get("prompt"):
        add("prompt", "prompt_id = $prompt", given["prompt"])
    if given.get("outcome") == DROPPED:
        add("outcome", "outcome <> $outcome", KEPT)
    elif given.get("outcome"):
        add("outcome", "outcome = $outcome", given["outcome"])
    for column in _RANGES:
        for bound, sign in (("min", ">="), ("max", "<=")):
            name = f"{bound}_{column}"
            if given.get(name):
                add(name, f"{column} {sign} ${name}", _number(name, given[name]))
    table = parse_table(given, sorts=SAMPLE_SORTS)
    return dataclasses.replace(table, conditions=tuple(conditions), values=values)


def _number(name: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise BadQueryError(f"{name}={text}: expected a number")
    return value
