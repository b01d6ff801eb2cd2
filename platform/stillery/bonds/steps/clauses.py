"""Candidate step boundaries, and the features on both sides of them."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

SEPARATOR = re.compile(
    r"(?:[.!?…]+[*_\"'”’)\]}$]*|[,;:—–]+[*_\"'”’)\]$]*)(?=\s)\s+"
    r"|[。！？；]+[”’」』）)*]*\s*|：\s*|\n\s*"
)
_ABBREVIATION = re.compile(
    r"(?:\b(?:e\.g|i\.e|etc|vs|cf|approx|fig|eqs?|mr|mrs|ms|dr|prof|resp|w\.r\.t))$", re.IGNORECASE
)
_MINUS = re.compile(r".?[\d)\]}%]\s*[–—]\s+[-−$€£(\\]*\d", re.DOTALL)
_TOKEN = re.compile(r"[^\W\d_]+(?:['’][a-z]+)?|\d+|\\[a-zA-Z]+|[^\w\s]")
_STRONG = re.compile(r"[.!?…。！？；\n]")
_BLANKS = re.compile(r"[^\S\n]+")
_PARAGRAPH = re.compile(r"\n[\n ]*\n ?")
_MAX_READ = 400
_SIZES = (8, 16, 28, 45, 70, 110, 200)


@dataclass(frozen=True, slots=True)
class Clause:
    """The characters `start` to `stop`, and the separator up to `end`, as a class ("P" is a blank line)."""

    start: int
    stop: int
    end: int
    separator: str
    tokens: tuple[str, ...]
    is_strong: bool


def split_clauses(text: str, start: int, end: int, skipped: Sequence[tuple[int, int]] = ()) -> list[Clause]:
    """The clauses of a stretch of text, none of whose separators lies inside one of the skipped spans."""
    clauses: list[Clause] = []
    begin, skip = start, 0
    for found in SEPARATOR.finditer(text, start, end):
        while skip < len(skipped) and skipped[skip][1] <= found.start():
            skip += 1
        is_inside = skip < len(skipped) and skipped[skip][0] < found.start()
        is_short = text[found.start()] == "." and _ABBREVIATION.search(
            text, max(begin, found.start() - 6), found.start()
        )
        is_minus = text[found.start()] in "–—" and _MINUS.match(text, max(start, found.start() - 2)) is not None
        if found.end() < end and not is_inside and not is_short and not is_minus:
            clauses.append(_clause(text, begin, found.start(), found.end()))
            begin = found.end()
    clauses.append(_clause(text, begin, end, end))
    return clauses


def _clause(text: str, start: int, stop: int, end: int) -> Clause:
    separator = _PARAGRAPH.sub("P", _BLANKS.sub(" ", text[stop:end]))
    tokens = tuple(
        t.casefold() if not t.isdigit() else "0" for t in _TOKEN.findall(text[start : min(stop, start + _MAX_READ)])
    )
    return Clause(start, stop, end, separator[:8], tokens, _STRONG.search(separator) is not None)


def boundary_features(clauses: Sequence[Clause], text: str) -> list[list[str]]:
    """For each clause but the last, the features for a step boundary after it."""
    rows: list[list[str]] = []
    sentence = 0
    for i in range(len(clauses) - 1):
        this, after = clauses[i], clauses[i + 1]
        s, next_ = this.separator, after.tokens[:3]
        head, first = clauses[sentence].tokens[:2], this.tokens[:2]
        initial = text[after.start : after.start + 1]
        case = "A" if initial.isupper() else "a" if initial.islower() else "0" if initial.isdigit() else initial
        n1 = next_[0] if next_ else ""
        n2 = " ".join(next_[:2])
        p1 = this.tokens[-1] if this.tokens else ""
        h1 = head[0] if head else ""
        length, size = _size(this.stop - clauses[sentence].start), _size(after.stop - after.start)
        words, place = min(4, len(this.tokens)), min(4, i - sentence)
        rows.append([
            "s" + s, f"s{s}|c{case}", f"s{s}|n{n1}", f"s{s}|n{n2}", f"n{n1}", f"n{' '.join(next_)}",
            f"s{s}|p{p1}", f"p{' '.join(this.tokens[-2:])}", f"s{s}|h{h1}", f"h{' '.join(head)}",
            f"s{s}|f{' '.join(first)}", f"s{s}|h{h1}|n{n1}", f"s{s}|l{length}", f"s{s}|e{after.separator}",
            f"s{s}|c{case}|m{size}", f"l{length}|m{size}|{this.is_strong}",
            f"s{s}|={_relates(this)}{_relates(after)}", f"s{s}|w{words}|c{case}",
            f"s{s}|i{place}",
        ])  # fmt: skip
        if this.is_strong:
            sentence = i + 1
    return rows


def _relates(clause: Clause) -> str:
    return "=" if "=" in clause.tokens or "≈" in clause.tokens else "-"


def _size(chars: int) -> int:
    return sum(chars > size for size in _SIZES)
