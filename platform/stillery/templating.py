"""The environment of the jinja2 templates for pages and drawings, and their number formats.

Model output is hostile input: templates escape all values, so a text reaches a page as text.
"""

import textwrap
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

NONE = "–"


def percent(share: float) -> str:
    return f"{100 * share:.1f}%"


def with_error(measure: Mapping[str, Any]) -> str:
    """A mean share and its standard error, as in `71.3% ± 2.1`."""
    error = measure["standard_error"]
    return percent(measure["mean"]) + ("" if error is None else f" ± {100 * error:.1f}")


def count(number: float, places: int = 0) -> str:
    return f"{number:,.{places}f}"


def duration(seconds: float) -> str:
    """Seconds for display: `4.2 s`, `3 min 05 s`, `2 h 10 min`."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


def words(name: str) -> str:
    """An identifier as words."""
    return name.replace("_", " ")


def excerpt(text: str) -> str:
    """The beginning of a text, on one line."""
    return textwrap.shorten(text, 100, placeholder=" …")


def printable(text: str) -> str:
    """The text with a blank for each character that XML does not allow."""
    return "".join(
        c if c >= " " and not 0xD800 <= ord(c) <= 0xDFFF and ord(c) not in (0xFFFE, 0xFFFF) else " " for c in text
    )


@cache
def make_environment(*packages: str, **filters: Callable[..., Any]) -> Any:
    """The templates of these packages' folders `templates`; the first match of a name is used."""
    from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined

    # Jinja's own types allow only its own filters and globals.
    made: Any = Environment(
        loader=ChoiceLoader([PackageLoader(package) for package in packages]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.policies["json.dumps_kwargs"] = {"ensure_ascii": False, "allow_nan": False, "separators": (",", ":")}
    shared = (count, duration, excerpt, percent, printable, with_error, words)
    made.filters |= {write.__name__: write for write in shared} | filters
    made.globals["NONE"] = NONE
    return made
