"""`stillery bonds FILE`: the molecules of traces, as a table, JSON or a drawing, or the traces with checks inserted."""

import dataclasses
import json
import os
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from stillery.bonds.analysis import analyze
from stillery.bonds.measure.stability import is_unstable
from stillery.errors import UserError
from stillery.records import BondKind, Molecule

TEXT_FIELDS = ("text", "completion", "trace")


@dataclass(frozen=True, slots=True)
class TraceInput:
    """A trace to describe, with its name. `inserted` are the spans that reinforcement added; `row` is its JSON object,
    and `text_field` the field of the text in it."""

    name: str
    text: str
    question: str | None = None
    answer: str | None = None
    inserted: tuple[tuple[int, int], ...] = ()
    row: dict[str, Any] = field(default_factory=dict[str, Any])
    text_field: str = TEXT_FIELDS[0]


def describe_file(
    file: str,
    *,
    as_json: bool,
    draw: str | None,
    chosen: Sequence[int] | None,
    layout: str = "arcs",
    reinforced: str | None = None,
) -> None:
    """Print the requested output for each trace, and write the drawing and the reinforced traces.

    Raises UserError for a file that cannot be read or holds no trace, and for a drawing that cannot be made from it.
    """
    traces = read_traces(file)
    if chosen is not None:
        beyond = [number for number in chosen if not 1 <= number <= len(traces)]
        if beyond:
            raise UserError(f"{file}: no trace {beyond[0]}, it holds {len(traces)}")
        traces = [traces[number - 1] for number in chosen]
    if reinforced is not None:
        traces = write_reinforced(Path(reinforced), traces)
    made = [(t, molecule_of(t)) for t in traces]
    if not as_json:
        print(
            f"{'trace':<24}{'steps':>6}"
            + "".join(f"{_short(k):>13}" for k in BondKind)
            + f"{'conflict':>10}{'stability':>11}"
        )
    for trace, molecule in made:
        print(
            json.dumps(dataclasses.asdict(molecule), ensure_ascii=False) if as_json else summary(trace.name, molecule)
        )
    if draw is not None:
        write_drawing(Path(draw), [(t.name, m) for t, m in made], question=traces[0].question, layout=layout)


def molecule_of(trace: TraceInput, *, markers: bool = True) -> Molecule:
    """The molecule of a trace that was read."""
    return analyze(
        trace.text,
        question=trace.question,
        answer=trace.answer,
        markers=markers,
        sample_id=trace.name,
        inserted=trace.inserted,
    )


def summary(name: str, molecule: Molecule) -> str:
    """The molecule in one line."""
    kinds = Counter(bond.kind for bond in molecule.bonds)
    bonds = "".join(f"{kinds[kind]:>13}" for kind in BondKind)
    mark = "  unstable" if is_unstable(molecule) else ""
    return f"{name[:23]:<24}{len(molecule.atoms):>6}{bonds}{molecule.conflict:>10.2f}{molecule.stability:>11.3f}{mark}"


def _short(kind: BondKind) -> str:
    return kind.value.partition("_")[0] if kind != BondKind.STRONG_LOGIC else "logic"


def read_traces(file: str) -> list[TraceInput]:
    """The traces of a file, or of standard input for `-`."""
    try:
        text = sys.stdin.read() if file == "-" else Path(file).read_text(encoding="utf-8")
    except OSError as error:
        raise UserError(f"{file}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UserError(f"{file} is not UTF-8 text") from None
    if not text.strip():
        raise UserError(f"{file} is empty; it should hold a trace, or JSON lines with one each under {TEXT_FIELDS[0]}")
    if not text.lstrip().startswith("{"):
        return [TraceInput(Path(file).stem if file != "-" else "trace", text)]
    lines = [(number, line) for number, line in enumerate(text.split("\n"), start=1) if line.strip()]
    return [_read_line(file, number, line) for number, line in lines]


def _read_line(file: str, number: int, line: str) -> TraceInput:
    try:
        row: dict[str, Any] = json.loads(line)
    except ValueError:
        raise UserError(f"{file}, line {number} is not JSON") from None
    if not isinstance(row, dict):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise UserError(f"{file}, line {number} is no JSON object")
    text_field = next((name for name in TEXT_FIELDS if isinstance(row.get(name), str)), None)
    if text_field is None:
        raise UserError(f"{file}, line {number} has no text: put the trace under {', '.join(TEXT_FIELDS)}")
    name = row.get("sample_id") or row.get("id") or str(number)
    given = {key: str(row[key]) for key in ("question", "answer") if row.get(key) is not None}
    inserted = _read_spans(row.get("inserted", []), f"{file}, line {number}")
    return TraceInput(str(name), row[text_field], **given, inserted=inserted, row=row, text_field=text_field)


def _read_spans(value: Any, where: str) -> tuple[tuple[int, int], ...]:
    try:
        spans = tuple((int(start), int(end)) for start, end in value)
    except (TypeError, ValueError):
        raise UserError(f'{where}: "inserted" is no list of [start, end] pairs of character positions') from None
    return spans


def write_reinforced(out: Path, traces: Sequence[TraceInput]) -> list[TraceInput]:
    """Write the traces with checks inserted, one JSON line each: the original row, with the new text and the spans of
    the insertions. Returns the new traces."""
    from stillery.bonds.claims.reinforcement import reinforce

    new: list[TraceInput] = []
    num_added = num_changed = num_unchecked = 0
    for trace in traces:
        made = reinforce(
            trace.text, question=trace.question, answer=trace.answer, sample_id=trace.name, inserted=trace.inserted
        )
        row = {"id": trace.name, **trace.row, trace.text_field: made.text, "inserted": made.inserted}
        new.append(dataclasses.replace(trace, text=made.text, inserted=tuple(made.inserted), row=row))
        num_added += made.num_computed
        num_changed += made.num_computed > 0
        num_unchecked += len(made.unchecked)
    temporary = out.with_name(f".{out.name}.{os.getpid()}")
    try:
        temporary.write_text("".join(json.dumps(t.row) + "\n" for t in new), encoding="utf-8")
        temporary.replace(out)
    except OSError as error:
        raise UserError(f"--reinforce {out}: {error.strerror}") from None
    print(
        f"reinforced: {out}: {num_added} checks inserted into {num_changed} of {len(new)} traces, "
        f"{num_unchecked} firm transitions left that no computation checks",
        file=sys.stderr,
    )
    return new


def write_drawing(
    out: Path, molecules: Sequence[tuple[str, Molecule]], *, question: str | None, layout: str = "arcs"
) -> None:
    """One molecule as .svg, .png or .html, or two side by side as .html; a page opens with `layout` and has both."""
    from stillery.bonds.draw.drawing import to_png, to_svg
    from stillery.bonds.draw.page import molecule_page

    most = 2 if out.suffix == ".html" else 1
    if out.suffix not in (".html", ".svg", ".png"):
        raise UserError(f"--draw {out}: draws .html, .svg or .png")
    if len(molecules) > most:
        raise UserError(
            f"--draw {out}: {len(molecules)} traces, a {out.suffix} shows at most {most}; choose by --trace"
        )
    empty = [name for name, molecule in molecules if not molecule.atoms]
    if empty:
        raise UserError(f"--draw {out}: trace {empty[0]} has no steps to draw")
    name, molecule = molecules[0]
    if out.suffix == ".html":
        data = molecule_page(molecules, question=question, layout=layout).encode()
    elif out.suffix == ".svg":
        data = to_svg(molecule, title=name, layout=layout).encode()
    else:
        data = to_png(molecule, title=name, layout=layout)
    try:
        out.write_bytes(data)
    except OSError as error:
        raise UserError(f"--draw {out}: {error.strerror}") from None
    print(f"drawn: {out}", file=sys.stderr)
