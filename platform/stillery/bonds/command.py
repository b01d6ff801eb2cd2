"""`stillery bonds`: traces in a file or on standard input -> a line each, JSON, or a drawing."""

import dataclasses
import json
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stillery.bonds.analysis import analyze
from stillery.bonds.stability import is_unstable
from stillery.errors import UserError
from stillery.records import BondKind, Molecule

TEXT_FIELDS = ("text", "completion", "trace")


@dataclass(frozen=True, slots=True)
class Trace:
    """A trace to describe, and by what name."""

    name: str
    text: str
    question: str | None = None
    answer: str | None = None


def describe_file(file: str, *, as_json: bool, draw: str | None, chosen: Sequence[int] | None) -> None:
    """Print what is asked of each trace, and write the drawing.

    Raises UserError for a file that cannot be read or holds no trace, and for a drawing that cannot be made of it.
    """
    traces = read_traces(file)
    if chosen is not None:
        beyond = [number for number in chosen if not 1 <= number <= len(traces)]
        if beyond:
            raise UserError(f"{file}: no trace {beyond[0]}, it holds {len(traces)}")
        traces = [traces[number - 1] for number in chosen]
    made = [(t, analyze(t.text, question=t.question, answer=t.answer, sample_id=t.name)) for t in traces]
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
        write_drawing(Path(draw), [(t.name, m) for t, m in made], question=traces[0].question)


def summary(name: str, molecule: Molecule) -> str:
    """The molecule in one line."""
    kinds = Counter(bond.kind for bond in molecule.bonds)
    bonds = "".join(f"{kinds[kind]:>13}" for kind in BondKind)
    mark = "  unstable" if is_unstable(molecule) else ""
    return f"{name[:23]:<24}{len(molecule.atoms):>6}{bonds}{molecule.conflict:>10.2f}{molecule.stability:>11.3f}{mark}"


def _short(kind: BondKind) -> str:
    return kind.value.partition("_")[0] if kind != BondKind.STRONG_LOGIC else "logic"


def read_traces(file: str) -> list[Trace]:
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
        return [Trace(Path(file).stem if file != "-" else "trace", text)]
    lines = [(number, line) for number, line in enumerate(text.split("\n"), start=1) if line.strip()]
    return [_read_line(file, number, line) for number, line in lines]


def _read_line(file: str, number: int, line: str) -> Trace:
    try:
        row: dict[str, Any] = json.loads(line)
    except ValueError:
        raise UserError(f"{file}, line {number} is not JSON") from None
    field = next((name for name in TEXT_FIELDS if isinstance(row.get(name), str)), None)
    if field is None:
        raise UserError(f"{file}, line {number} has no text: put the trace under {', '.join(TEXT_FIELDS)}")
    name = row.get("sample_id") or row.get("id") or str(number)
    given = {key: str(row[key]) for key in ("question", "answer") if row.get(key) is not None}
    return Trace(str(name), row[field], **given)


def write_drawing(out: Path, molecules: Sequence[tuple[str, Molecule]], *, question: str | None) -> None:
    """One molecule as .svg, .png or .html, or two side by side as .html."""
    from stillery.bonds.drawing import to_png, to_svg
    from stillery.bonds.page import molecule_page

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
        data = molecule_page(molecules, question=question).encode()
    elif out.suffix == ".svg":
        data = to_svg(molecule, title=name).encode()
    else:
        data = to_png(molecule, title=name)
    try:
        out.write_bytes(data)
    except OSError as error:
        raise UserError(f"--draw {out}: {error.strerror}") from None
    print(f"drawn: {out}", file=sys.stderr)
