"""What a table is asked for: the parameters of an address in, a sort, a page and the conditions of a query out."""

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
# What samples can be sorted and bounded by; each is a column of the index.
_RANGES = ("num_tokens", "stability", "pass_rate", *BOND_COLUMNS.values())
SAMPLE_SORTS = ("place", "task", "verdict", "outcome", "conflict", *_RANGES)
_CHOICES = ("task", "split", "verdict", "finish_reason")
# What became of a sample: this, or the reason for which it was dropped; any of these reasons is the second.
KEPT, DROPPED = "kept", "dropped"
_MOST_PAGES = 10**9


class BadQueryError(ValueError):
    """A parameter that says nothing; the text names it and what it may be."""


class QueryParams(dict[str, str]):
    """The parameters of an address; one that was not given is empty."""

    def __missing__(self, name: str) -> str:
        return ""


@dataclass(frozen=True, slots=True)
class TableQuery:
    """The parameters as they were given, and what they mean. `conditions` are SQL, which holds no text of the address:
    that is in `values`."""

    given: QueryParams
    text: str
    sort: str
    is_descending: bool
    page: int
    conditions: tuple[str, ...] = ()
    values: Mapping[str, Any] = field(default_factory=dict[str, Any])

    @property
    def order(self) -> str:
        """The whole order: rows that are alike stay as they were made, so that no page repeats another's."""
        return f"{self.sort} {'DESC' if self.is_descending else 'ASC'} NULLS LAST, place"

    def address(self, **changes: object) -> str:
        """The query string of this table with other parameters; None takes one away. Another question starts at its
        first page."""
        kept = self.given if set(changes) <= {"page"} else {k: v for k, v in self.given.items() if k != "page"}
        return urlencode({name: value for name, value in {**kept, **changes}.items() if value not in (None, "")})

    def sorted_by(self, column: str) -> str:
        """The query string of this table sorted by a column: downwards, and upwards where it is so already."""
        is_reversed = self.sort == column and self.is_descending
        return self.address(sort=column if is_reversed else f"-{column}")


def parse_table(given: Mapping[str, str], *, sorts: Sequence[str]) -> TableQuery:
    """Sort, page and search text. Raises BadQueryError for a sort or a page that is none."""
    sort = given.get("sort") or "place"
    if sort.removeprefix("-") not in sorts:
        raise BadQueryError(f"sort={sort}: one of {', '.join(sorts)}, downwards with - before it")
    page = _number("page", given.get("page") or "1")
    if page != int(page) or not 1 <= page <= _MOST_PAGES:
        raise BadQueryError(f"page={given.get('page')}: pages are counted from 1")
    text = (given.get("q") or "").strip()
    return TableQuery(QueryParams(given), text, sort.removeprefix("-"), sort.startswith("-"), int(page))


def parse_samples(given: Mapping[str, str]) -> TableQuery:
    """A query for samples. Raises BadQueryError for a sort, a number or a page that is none; a name that nothing has is
    ignored."""
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
