"""Small pieces of HTML. Every function here escapes the texts that it is given and returns finished markup.

Model output is hostile input: a text reaches the page through `escape` or not at all.
"""

import html
from collections.abc import Mapping, Sequence
from typing import Any

from stillery.records import VerdictKind

NONE = "–"

_CHIPS = {
    VerdictKind.CORRECT: ("correct", "✓"),
    VerdictKind.WRONG: ("wrong", "✗"),
}


def escape(text: object) -> str:
    """The text, safe in an element and in a quoted attribute."""
    return html.escape(str(text), quote=True)


def percent(share: float) -> str:
    return f"{100 * share:.1f}%"


def with_error(measure: Mapping[str, Any]) -> str:
    """A mean share and its standard error, as in `71.3% ± 2.1`."""
    error = measure["standard_error"]
    return percent(measure["mean"]) + ("" if error is None else f" ± {100 * error:.1f}")


def count(number: float) -> str:
    return f"{number:,.0f}"


def duration(seconds: float) -> str:
    """Seconds for people: `4.2 s`, `3 min 05 s`, `2 h 10 min`."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


def section(title: str, *parts: str, identifier: str) -> str:
    """A section with its heading; `parts` are markup."""
    name = escape(identifier)
    body = "\n".join((f'<h2 id="{name}-title">{escape(title)}</h2>', *parts))
    return f'<section id="{name}" aria-labelledby="{name}-title">\n{body}\n</section>'


def paragraph(text: str, *, style: str = "") -> str:
    return f'<p class="{style}">{escape(text)}</p>' if style else f"<p>{escape(text)}</p>"


def figure(caption: str, *, note: str = "", body: str, legend: Sequence[tuple[str, str]] = ()) -> str:
    """A chart with its caption above and a legend of (style, name); `body` is markup."""
    entries = "".join(f'<li><span class="key {style}"></span>{escape(name)}</li>' for style, name in legend)
    keys = f'<ul class="legend">{entries}</ul>' if legend else ""
    small = f" <small>{escape(note)}</small>" if note else ""
    return f"<figure><figcaption>{escape(caption)}{small}</figcaption>{keys}{body}</figure>"


def details(summary: str, body: str) -> str:
    """A closed block that opens on a click; both arguments are markup."""
    return f"<details><summary>{summary}</summary>\n{body}\n</details>"


def verbatim(text: str, *, label: str) -> str:
    """Text as it was made, its spacing kept; long ones scroll, also by keyboard."""
    return f'<pre tabindex="0" aria-label="{escape(label)}">{escape(text)}</pre>'


def chip(verdict: str) -> str:
    """The verdict as a coloured word with a sign, so that it differs by more than its colour."""
    style, sign = _CHIPS.get(VerdictKind(verdict), ("other", "!"))
    return f'<span class="chip {style}"><span aria-hidden="true">{sign}</span> {escape(verdict)}</span>'


def table(head: Sequence[str], groups: Sequence[tuple[str, Sequence[Sequence[str]]]], *, label: str) -> str:
    """A table of texts whose first column names the row; the others are numbers, set to the right.

    `groups` are (name, rows); a group without a name has no heading row of its own.
    """
    columns = "".join(f'<th scope="col">{escape(name)}</th>' for name in head)
    bodies = "".join(_table_body(name, rows, width=len(head)) for name, rows in groups)
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(label)}">'
        f"<table><thead><tr>{columns}</tr></thead>{bodies}</table></div>"
    )


def _table_body(name: str, rows: Sequence[Sequence[str]], *, width: int) -> str:
    heading = f'<tr class="group"><th scope="rowgroup" colspan="{width}"><span>{escape(name)}</span></th></tr>'
    lines = [
        f'<tr><th scope="row">{escape(row[0])}</th>' + "".join(f"<td>{escape(cell)}</td>" for cell in row[1:]) + "</tr>"
        for row in rows
    ]
    return "<tbody>" + (heading if name else "") + "\n".join(lines) + "</tbody>"
