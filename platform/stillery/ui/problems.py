"""Evaluated problems: the results of several models on each of them, and the differences between two of the models.

A side is a model of a run. A run's own page has all of its models as sides; a comparison has two, of any runs.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from stillery.metrics import Gain, gain_of
from stillery.records import FAILURES, Score, Split, VerdictKind, from_row
from stillery.registry.lineage import EVALUATIONS
from stillery.ui.database import Database, Row
from stillery.ui.filters import ROWS_PER_PAGE, BadQueryError, TableQuery
from stillery.ui.runs import RunView

ROLES = {
    "teacher": "Teacher",
    "student_before": "Student before",
    "student_sft": "Student fine-tuned",
    "student_after": "Student after",
}
CHANGES = {"gained": "> 0", "lost": "< 0", "same": "= 0"}
SORTS = ("place", "task", "change")
_UNCOUNTED = ", ".join(f"'{verdict}'" for verdict in (*sorted(FAILURES), VerdictKind.UNCHECKED))


@dataclass(frozen=True, slots=True)
class Side:
    """A model of a run and the files of its scores."""

    run: RunView
    role: str
    files: list[str]

    @property
    def name(self) -> str:
        return ROLES[self.role]

    @property
    def key(self) -> str:
        """The side's name in an address."""
        return f"{self.run.name}:{self.role}"


@dataclass(frozen=True, slots=True)
class ProblemPage:
    """A page of problems; `total` counts the rows of all pages. `counts` are the problems gained, lost and the same
    between the two compared sides, `unpaired` those that only one of them has, and `gain` the mean difference."""

    rows: list[Row]
    total: int
    counts: Mapping[str, int]
    unpaired: int
    gain: Gain | None
    splits: list[str]
    tasks: list[str]

    @property
    def num_pages(self) -> int:
        return max(1, -(-self.total // ROWS_PER_PAGE))


def sides_of(run: RunView, samples: str | None = None) -> list[Side]:
    """The models of a run that were measured, teacher first. Raises KeyError if there are no such `samples`."""
    chosen = run.chosen(samples, fetch=EVALUATIONS)
    sides = [
        Side(run, role, [str(chosen[stage].folder.local / name) for name in chosen[stage].folder.names(".parquet")])
        for stage, role in EVALUATIONS.items()
        if stage in chosen
    ]
    return [side for side in sides if side.files]


def compared(sides: Sequence[Side]) -> tuple[int, int] | None:
    """The two compared sides of a run: the student before and after."""
    roles = [side.role for side in sides]
    pair = ("student_before", "student_after")
    return (roles.index(pair[0]), roles.index(pair[1])) if all(role in roles for role in pair) else None


def list_problems(
    database: Database, sides: Sequence[Side], query: TableQuery, *, pair: tuple[int, int] | None
) -> ProblemPage:
    """The problems that any of the sides was given, and those of the requested page.

    Each row has prompt_id, task, split, question, gold, for each side `correct_N` and `counted_N` samples (None where
    the side was not given the problem), and `change`, the difference of the shares between the `pair`. Raises
    BadQueryError for an unknown change.
    """
    files = {f"side_{n}": side.files for n, side in enumerate(sides)}
    table = _table(len(sides), pair)
    of_split, values = _of_split(query)
    shown, more = _shown(query)
    rows = database.rows(
        f"{table} SELECT *, count(*) OVER () AS total FROM problem{_where(of_split + shown)} "
        f"ORDER BY {query.order}, prompt_id LIMIT {ROWS_PER_PAGE} OFFSET {(query.page - 1) * ROWS_PER_PAGE}",
        {**files, **values, **more},
    )
    differences = database.rows(f"{table} SELECT change FROM problem{_where(of_split)}", {**files, **values})
    known = [row["change"] for row in differences if row["change"] is not None]
    counts = {"gained": sum(d > 0 for d in known), "lost": sum(d < 0 for d in known), "same": known.count(0)}
    facets = database.rows(f"{table} SELECT DISTINCT split, task FROM problem", files)
    splits = {row["split"] for row in facets}
    return ProblemPage(
        rows,
        rows[0]["total"] if rows else 0,
        counts,
        len(differences) - len(known) if pair else 0,
        gain_of(known) if len(known) > 1 else None,
        [split for split in Split if split in splits],
        sorted({row["task"] for row in facets}),
    )


def scores_of(database: Database, side: Side, prompt_id: str) -> list[Score]:
    """A model's samples of one problem, in order."""
    rows = database.rows(
        "SELECT * FROM read_parquet($files) WHERE prompt_id = $id ORDER BY sample_index",
        {"files": side.files, "id": prompt_id},
    )
    return [from_row(row, Score) for row in rows]


def neighbours(
    database: Database, sides: Sequence[Side], query: TableQuery, prompt_id: str, *, pair: tuple[int, int] | None
) -> dict[str, str]:
    """The problems before and after one in a list, as `previous` and `next`, where there are any."""
    of_split, values = _of_split(query)
    shown, more = _shown(query)
    files = {f"side_{n}": side.files for n, side in enumerate(sides)}
    rows = database.rows(
        f"{_table(len(sides), pair)} SELECT previous, next FROM (SELECT prompt_id, lag(prompt_id) OVER ordered AS "
        f"previous, lead(prompt_id) OVER ordered AS next FROM problem{_where(of_split + shown)} "
        f"WINDOW ordered AS (ORDER BY {query.order}, prompt_id)) WHERE prompt_id = $this",
        {**files, **values, **more, "this": prompt_id},
    )
    return {name: problem for name, problem in (rows[0] if rows else {}).items() if problem is not None}


def _of_split(query: TableQuery) -> tuple[list[str], dict[str, Any]]:
    """The conditions that select the problems of the metrics, with their values."""
    values: dict[str, Any] = {name: query.given[name] for name in ("split", "task") if query.given[name]}
    return [f"{name} = ${name}" for name in values], values


def _shown(query: TableQuery) -> tuple[list[str], dict[str, Any]]:
    """The conditions that select the shown ones among these. Raises BadQueryError for an unknown change."""
    change = query.given["change"]
    if change and change not in CHANGES:
        raise BadQueryError(f"change={change}: one of {', '.join(CHANGES)}")
    conditions = [f"change {CHANGES[change]}"] if change else []
    if query.text:
        conditions.append("(contains(lower(question), lower($text)) OR starts_with(prompt_id, $text))")
    return conditions, {"text": query.text} if query.text else {}


def _where(conditions: Sequence[str]) -> str:
    return f" WHERE {' AND '.join(conditions)}" if conditions else ""


def _table(num_sides: int, pair: tuple[int, int] | None) -> str:
    """The start of a query: `problem` has one row per problem."""
    numbers = range(num_sides)
    every = " UNION ALL ".join(
        f"SELECT file_row_number + {n} * 1e12 AS place, prompt_id, task, split, question, gold "
        f"FROM read_parquet($side_{n}, file_row_number = true)"
        for n in numbers
    )
    sides = "".join(
        f", side_{n} AS (SELECT prompt_id, count(*) FILTER (verdict = 'correct') AS correct_{n}, "
        f"count(*) FILTER (verdict NOT IN ({_UNCOUNTED})) AS counted_{n}, "
        f"correct_{n} / nullif(counted_{n}, 0) AS rate_{n} FROM read_parquet($side_{n}) GROUP BY prompt_id)"
        for n in numbers
    )
    joins = "".join(f" LEFT JOIN side_{n} USING (prompt_id)" for n in numbers)
    change = f"rate_{pair[1]} - rate_{pair[0]}" if pair else "NULL::DOUBLE"
    return (
        "WITH asked AS (SELECT prompt_id, min(place) AS place, any_value(task) AS task, any_value(split) AS split, "
        f"left(any_value(question), 240) AS question, any_value(gold) AS gold FROM ({every}) "
        f"GROUP BY prompt_id){sides}, problem AS (SELECT *, {change} AS change FROM asked{joins})"
    )
