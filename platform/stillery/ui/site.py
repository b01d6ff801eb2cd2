"""The context of every page: the runs, their data, the templates, and addresses."""

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote, urlencode

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from stillery.records import BondKind
from stillery.report.data import SPLIT_NAMES
from stillery.templating import count, make_environment, words
from stillery.ui.database import Database
from stillery.ui.problems import ROLES
from stillery.ui.runs import RunList, RunView
from stillery.ui.samples import SampleIndexes


class Site:
    """The runs, and the rendering of templates. Templates escape all values."""

    def __init__(self, runs: RunList, *, has_keys: bool) -> None:
        self.runs = runs
        self.has_keys = has_keys
        self.database = Database(runs.roots)
        self.samples = SampleIndexes(self.database)
        self._pages = make_environment("stillery.ui", "stillery.report", points=points, number=number, options=options)
        self._pages.globals |= {"path": path, "ROLES": ROLES, "SPLIT_NAMES": SPLIT_NAMES}
        self._pages.globals["BONDS"] = [kind.value for kind in BondKind]

    def run(self, request: Request) -> RunView:
        """The run in an address, or a 404."""
        return self.run_of(request.path_params["run"])

    def run_of(self, name: str) -> RunView:
        """Raises HTTPException (404) if there is no such run."""
        try:
            return self.runs.find(name)
        except KeyError:
            raise HTTPException(404, f"There is no run {name} here.") from None

    def page(self, request: Request, template: str, *, status: int = 200, **context: Any) -> Response:
        """A rendered template as a response."""
        page = self._pages.get_template(template).render(request=request, has_keys=self.has_keys, **context)
        # Half a surrogate pair, which a tokenizer may leave behind, cannot be encoded in UTF-8.
        return HTMLResponse(page.encode("utf-8", "replace"), status_code=status)


def site_of(request: Request) -> Site:
    """The site of a request."""
    site: Site = request.app.state.site
    return site


def path(*parts: object, query: str = "", **parameters: object) -> str:
    """An address on this site: parts are escaped completely, so that none of them adds a level."""
    asked = "&".join(filter(None, [query, urlencode({k: v for k, v in parameters.items() if v not in (None, "")})]))
    return "/" + "/".join(quote(str(part), safe=":") for part in parts) + (f"?{asked}" if asked else "")


def options(values: Mapping[str, int] | Sequence[str]) -> list[tuple[str, str]]:
    """The options of a select, as (value, text): with their counts, where known."""
    if isinstance(values, Mapping):
        return [(value, f"{words(value)} ({count(found)})") for value, found in values.items()]
    return [(value, words(value)) for value in values]


def number(value: float) -> str:
    """A number with two places and a true minus sign."""
    return f"{value:.2f}".replace("-", "−")


def points(share: float) -> str:
    """A difference of shares in points, with its sign."""
    return f"{100 * share:+.1f}".replace("-", "−")


def query_of(request: Request) -> Mapping[str, str]:
    """The parameters of an address; of a repeated one, the last."""
    return dict(request.query_params)
