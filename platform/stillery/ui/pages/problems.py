"""Evaluated problems: a run's models on each of them, two models compared, and one problem side by side."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from stillery.records import Score
from stillery.ui.filters import TableQuery, parse_table
from stillery.ui.pages.samples import draw
from stillery.ui.problems import ROLES, SORTS, Side, compared, list_problems, neighbours, scores_of, sides_of
from stillery.ui.runs import RunView
from stillery.ui.site import Site, query_of, site_of
from stillery.ui.trace import TraceView, read_trace


@dataclass(frozen=True, slots=True)
class Column:
    """A model beside others: its samples of a problem, the one that is shown, and its trace."""

    side: Side
    scores: Sequence[Score]
    shown: Score | None
    trace: TraceView | None


def problems(request: Request) -> Response:
    """The evaluated problems of a run, with the results of each model."""
    site = site_of(request)
    run = site.run(request)
    query = parse_table(query_of(request), sorts=SORTS)
    sides = _sides(run, query.given.get("samples"))
    pair = compared(sides)
    found = list_problems(site.database, sides, query, pair=pair) if sides else None
    return site.page(
        request, "problems.html", run=run, tab="problems", samples=query.given.get("samples"), sides=sides, pair=pair,
        query=query, found=found,
    )  # fmt: skip


def problem(request: Request) -> Response:
    """One problem: teacher, student before and after, side by side."""
    site = site_of(request)
    run = site.run(request)
    query = parse_table(query_of(request), sorts=SORTS)
    sides = _sides(run, query.given.get("samples"))
    return _side_by_side(site, request, sides, query, run=run, pair=compared(sides))


def compare(request: Request) -> Response:
    """Two models of any runs, problem by problem."""
    site = site_of(request)
    query = parse_table(query_of(request), sorts=SORTS)
    options = [side for run in site.runs.all() for side in sides_of(run)]
    sides = _pair(site, query.given, options)
    found = list_problems(site.database, sides, query, pair=(0, 1)) if sides else None
    return site.page(
        request, "compare.html", options=options, sides=sides, pair=(0, 1), query=query, found=found, tab="compare"
    )


def compare_problem(request: Request) -> Response:
    """Two models of any runs on one problem."""
    site = site_of(request)
    query = parse_table(query_of(request), sorts=SORTS)
    sides = _pair(site, query.given, [])
    return _side_by_side(site, request, sides, query, run=None, pair=(0, 1))


def drawing(request: Request) -> Response:
    """The molecule of a model's sample of a problem as an image."""
    site = site_of(request)
    side = _side(site, f"{request.path_params['run']}:{request.path_params['role']}", query_of(request).get("samples"))
    scores = scores_of(site.database, side, request.path_params["problem"])
    score = _shown(scores, request.path_params["index"])
    if score is None:
        raise HTTPException(404, f"{side.name} of {side.run.name} has no such sample of this problem.")
    return draw(score.completion, question=score.question, title=f"{side.name}, sample {score.sample_index + 1}")


def _side_by_side(
    site: Site,
    request: Request,
    sides: Sequence[Side],
    query: TableQuery,
    *,
    run: RunView | None,
    pair: tuple[int, int] | None,
) -> Response:
    prompt_id: str = request.path_params["problem"]
    asked = query.given.get("i") or "0"
    columns: list[Column] = []
    for side in sides:
        scores = scores_of(site.database, side, prompt_id)
        shown = _shown(scores, int(asked) if asked.isdecimal() else 0)
        trace = None if shown is None else read_trace(shown.completion, question=shown.question)
        columns.append(Column(side, scores, shown, trace))
    known = next((score for column in columns for score in column.scores), None)
    if known is None:
        raise HTTPException(404, f"No model that is shown here was asked the problem {prompt_id}.")
    near = neighbours(site.database, sides, query, prompt_id, pair=pair)
    return site.page(
        request, "problem.html", run=run, tab="problems" if run else "compare", samples=query.given.get("samples"),
        query=query, columns=columns, problem=known, near=near, num_samples=max(len(c.scores) for c in columns),
    )  # fmt: skip


def _shown(scores: Sequence[Score], index: int) -> Score | None:
    return scores[index] if 0 <= index < len(scores) else None


def _sides(run: RunView, samples: str | None) -> list[Side]:
    try:
        return sides_of(run, samples)
    except KeyError:
        raise HTTPException(404, f"The run {run.name} has no finished samples {samples}.") from None


def _pair(site: Site, given: Mapping[str, str], options: Sequence[Side]) -> list[Side]:
    """The two sides in an address; by default the students of the first two runs, or of one run before and after."""
    if given.get("a") and given.get("b"):
        return [_side(site, given["a"]), _side(site, given["b"])]
    after = [side for side in options if side.role == "student_after"]
    if len(after) >= 2:
        return after[:2]
    before = [side for side in options if side.role == "student_before"]
    return [before[0], after[0]] if before and after else list(options[:2] if len(options) > 1 else [])


def _side(site: Site, key: str, samples: str | None = None) -> Side:
    """The side named RUN:ROLE."""
    name, _, role = key.rpartition(":")
    found = [side for side in _sides(site.run_of(name), samples) if side.role == role]
    if not found:
        told = ROLES[role].lower() if role in ROLES else f"model {role}"
        raise HTTPException(404, f"The run {name} has not evaluated its {told}.")
    return found[0]
