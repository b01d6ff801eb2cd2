"""The teacher's samples: the table, and one sample with all its data."""

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from stillery.bonds.draw.drawing import to_svg
from stillery.bonds.draw.page import molecule_page, policy_of
from stillery.pipeline.trail import follow
from stillery.ui.database import Row
from stillery.ui.filters import KEPT, parse_samples
from stillery.ui.pages.overview import chosen_of
from stillery.ui.runs import RunView
from stillery.ui.sample_table import SOURCES
from stillery.ui.samples import Index
from stillery.ui.site import Site, query_of, site_of
from stillery.ui.trace import read_trace

# The columns with bounds: column, name, and the step of its input field.
BOUNDS = {
    "num_tokens": ("Tokens", "1"),
    "stability": ("Stability", "any"),
    "pass_rate": ("Pass rate", "any"),
    "logic": ("Bonds: strong logic", "1"),
    "reflection": ("Bonds: reflection", "1"),
    "exploration": ("Bonds: exploration", "1"),
}
_WAYS = (("-", "most first"), ("", "least first"))


def table(request: Request) -> Response:
    """The samples that match the filters."""
    site = site_of(request)
    run = site.run(request)
    given = query_of(request)
    query = parse_samples(given)
    index, is_running = _index(site, run, given.get("samples"))
    if index is None:
        return site.page(request, "no_samples.html", run=run, tab="samples", samples=None)
    page = site.samples.page(index, query)
    return site.page(
        request,
        "samples.html",
        run=run,
        tab="samples",
        samples=given.get("samples"),
        query=query,
        index=index,
        is_running=is_running,
        page=page,
        dropped={reason: number for reason, number in index.facets["outcome"].items() if reason != KEPT},
        bounds=BOUNDS,
        sorts=[(f"{sign}{column}", f"{name}, {way}") for column, (name, _) in BOUNDS.items() for sign, way in _WAYS],
        is_bounded=any(query.given[f"{bound}_{column}"] for column in BOUNDS for bound in ("min", "max")),
    )


def sample(request: Request) -> Response:
    """One sample: its problem, trace, molecule, verdict, siblings and path through the run."""
    site = site_of(request)
    run, index, row = _asked(site, request)
    query = parse_samples(query_of(request))
    found = follow(run.source, row["sample_id"], near=index.texts.index(row["file"]))
    return site.page(
        request,
        "sample.html",
        run=run,
        tab="samples",
        samples=query.given.get("samples"),
        query=query,
        index=index,
        row=row,
        trace=read_trace(row["completion"], question=row["question"]),
        siblings=site.samples.siblings(index, row["prompt_id"]),
        near=site.samples.neighbours(index, query, row["sample_id"]),
        stops=found[1] if found else [],
    )


def drawing(request: Request) -> Response:
    """The molecule of a sample as an image."""
    _, _, row = _asked(site_of(request), request)
    return draw(row["completion"], question=row["question"], title=f"Sample {row['sample_id'][:8]}")


def molecule(request: Request) -> Response:
    """The molecule of a sample as an interactive page, under that page's own policy."""
    _, _, row = _asked(site_of(request), request)
    found = read_trace(row["completion"], question=row["question"]).molecule
    if found is None or not found.atoms:
        raise HTTPException(404, "This trace has no molecule: it has no steps, or is too long to analyse here.")
    name = f"Sample {row['sample_id'][:8]}"
    page = molecule_page([(name, found)], title=name, question=row["question"])
    return HTMLResponse(page, headers={"content-security-policy": policy_of()})


def draw(text: str, *, question: str | None, title: str) -> Response:
    """The drawing of a trace. Raises HTTPException (404) where there is nothing to draw."""
    found = read_trace(text, question=question).molecule
    if found is None or not found.atoms:
        raise HTTPException(404, "This trace has no molecule: it has no steps, or is too long to analyse here.")
    drawn = to_svg(found, title=title).encode("utf-8", "replace")
    # The drawing's own elements contain no style and no script.
    headers = {"content-security-policy": "default-src 'none'; frame-ancestors 'none'"}
    return Response(drawn, media_type="image/svg+xml", headers=headers)


def _asked(site: Site, request: Request) -> tuple[RunView, Index, Row]:
    run = site.run(request)
    index, _ = _index(site, run, query_of(request).get("samples"))
    sample_id: str = request.path_params["sample"]
    row = None if index is None else site.samples.sample(index, sample_id)
    if index is None or row is None:
        raise HTTPException(404, f"The run {run.name} has no sample {sample_id} among those that are shown.")
    return run, index, row


def _index(site: Site, run: RunView, samples: str | None) -> tuple[Index | None, bool]:
    """The index of a set of samples, and whether they are still being made; if none is finished, of those so far."""
    chosen = chosen_of(run, samples, fetch=SOURCES)
    if "generate" in chosen:
        return site.samples.index(chosen), False
    return site.samples.running(run), True
