"""From the text of a trace to its reasoning steps: spans that cover every character exactly once, in order.

A step is a sentence, a clause, a line, a list item, a displayed formula or a block of code; a short turn ("Hmm.") is a
step of its own. Which separators end a step is learned; code and displayed maths stay whole. English and Chinese;
linear in the length of the text.
"""

import re
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import chain

import numpy as np

from stillery.bonds.classifiers import Linear, load_arrays, model_of
from stillery.bonds.steps.clauses import Clause, boundary_features, split_clauses

# A step longer than this is cut at the next blank: no later stage has to read a megabyte as one sentence.
_MAX_CHARS = 4000
# Below zero: two merged steps lose every link between and into them, one split in two loses none.
_MIN_SCORE = -1.2
_WIDE_ENDS = ("。", "！", "？", "；")

_FENCE = re.compile(r"^[ \t]*(```|~~~)", re.MULTILINE)
_DISPLAY = re.compile(r"\\\[|\$\$|\\begin\{(equation|align|gather|multline|eqnarray|array|cases|[bpvV]?matrix)\*?\}")
_INLINE = re.compile(r"\\\((?:[^\\\n]|\\(?!\))){0,1000}\\\)|(?<![\\$\w])\$(?![\s$])[^$\n]{0,300}[^$\s\\]\$(?![\d$])")
_TAG = re.compile(
    r"</?(?:think|thinking|reasoning)>|<answer>(?:[^<]|<(?!/answer>)){0,2000}(?:</answer>)?", re.IGNORECASE
)
_ITEM = re.compile(r"\s*(?:[-*•+]\s+|\(?\d{1,3}[.)、]\s*(?=\D)|\(?[a-zA-Z][.)]\s+|#{1,6}\s+|第.{1,3}步)")
_RELATION = re.compile(r"=|≈|≡|[<>≤≥]|\\(?:le|ge|leq|geq|approx|equiv)(?![a-zA-Z])")
_WORD = re.compile(r"(?<!\\)(?<![a-zA-Z\\])[a-zA-Z]{4,}|[\u4e00-\u9fff]{2,}")


@dataclass(frozen=True, slots=True)
class Span:
    """Characters `start` to `end` of the trace, and the kind of the step."""

    start: int
    end: int
    kind: str


def segment(text: str, *, boundaries: Linear | None = None) -> list[Span]:
    """The steps of a trace. Their spans are contiguous, from 0 to its length; white space belongs to the step before
    it.

    `boundaries` replaces the shipped classifier.
    """
    spans: list[Span] = []
    held: int | None = None
    for start, end, kind in _pieces(text, boundaries or boundary_model()):
        begin = start if held is None else held
        held = begin if kind == "tag" else None
        if held is None:
            spans.append(Span(begin, end, kind or _kind_of(text[begin:end])))
    if held is not None:
        held_start = spans.pop().start if spans else held
        spans.append(Span(held_start, len(text), _kind_of(text[held_start:])))
    return spans


def _pieces(text: str, boundaries: Linear) -> Iterator[tuple[int, int, str]]:
    """Consecutive pieces of the text: (start, end, kind), kind "" for prose, whose kind is determined later."""
    blocks = [block for block in _blocks(text) if block[2] != "display"]
    stretches = clauses_of(text)
    rows = [boundary_features(clauses, text) for clauses in stretches]
    flat = list(chain.from_iterable(rows))
    scores = iter(boundaries.scores(flat)[:, 0] if flat else ())
    for i, clauses in enumerate(stretches):
        begin = clauses[0].start if clauses else 0
        is_lines = _is_lines(clauses)
        for n, clause in enumerate(clauses):
            score = next(scores) if n + 1 < len(clauses) else np.inf
            # The classifier was not trained on Chinese.
            if is_lines:
                is_end = clause.is_strong or score == np.inf
            else:
                is_end = score > _MIN_SCORE or clause.separator[:1] in _WIDE_ENDS
            if is_end:
                yield from _cut(text, begin, clause.end)
                begin = clause.end
        if i < len(blocks):
            yield blocks[i]


def _is_lines(clauses: Sequence[Clause]) -> bool:
    """Whether only line breaks divide a stretch, as where each line is one computation: then each line is a step."""
    strong = [clause.separator for clause in clauses[:-1] if clause.is_strong]
    return bool(strong) and all(separator.strip(" ") == "\n" for separator in strong)


def clauses_of(text: str) -> list[list[Clause]]:
    """The clauses of each stretch of prose before, between and after the blocks of code and the template's parts."""
    found = list(_blocks(text))
    blocks = [(start, end) for start, end, kind in found if kind != "display"]
    displays = [(start, end) for start, end, kind in found if kind == "display"]
    stretches: list[list[Clause]] = []
    for start, end in zip([0, *(b[1] for b in blocks)], [*(b[0] for b in blocks), len(text)], strict=True):
        inside = displays[bisect_left(displays, (start, 0)) : bisect_left(displays, (end, 0))]
        maths = sorted([*inside, *(m.span() for m in _INLINE.finditer(text, start, end))])
        stretches.append(split_clauses(text, start, end, maths) if end > start else [])
    return stretches


@cache
def boundary_model() -> Linear:
    """The shipped classifier of boundaries."""
    model = model_of(load_arrays("boundaries"))
    assert isinstance(model, Linear)
    return model


def _blocks(text: str) -> Iterator[tuple[int, int, str]]:
    """Fenced code, displayed maths and the template's tags, in order and without overlap."""
    position = 0
    fence, display, tag = (_search(pattern, text, 0) for pattern in (_FENCE, _DISPLAY, _TAG))
    closers = _Closers(text)
    while True:
        fence = fence if fence is None or fence.start() >= position else _search(_FENCE, text, position)
        display = display if display is None or display.start() >= position else _search(_DISPLAY, text, position)
        tag = tag if tag is None or tag.start() >= position else _search(_TAG, text, position)
        found = min((m for m in (fence, display, tag) if m is not None), key=lambda m: m.start(), default=None)
        if found is None:
            return
        end, kind = found.end(), "answer" if found.group()[:2].casefold() == "<a" else "tag"
        if found is fence:
            closing = closers.find("\n" + found[1], found.end())
            end, kind = (len(text) if closing is None else closing), "code"
        elif found is display:
            opening = found.group()
            wanted = {"\\[": "\\]", "$$": "$$"}.get(opening) or opening.replace("begin", "end")
            closing = closers.find(wanted, found.end())
            if closing is None or closing - found.start() > _MAX_CHARS:
                position = found.end()
                continue
            yield found.start(), closing, "display"
            position = closing
            continue
        end += len(text[end : end + 200]) - len(text[end : end + 200].lstrip())
        yield found.start(), end, kind
        position = end


class _Closers:
    """The next end of a closing string. A string that does not occur is searched for only once."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._known: dict[str, int] = {}

    def find(self, closing: str, start: int) -> int | None:
        known = self._known.get(closing, 0)
        if known < start + len(closing):
            at = self._text.find(closing, start)
            known = len(self._text) + 1 if at < 0 else at + len(closing)
            self._known[closing] = known
        return None if known > len(self._text) else known


def _search(pattern: re.Pattern[str], text: str, position: int) -> re.Match[str] | None:
    return pattern.search(text, position)


def _cut(text: str, start: int, end: int) -> Iterator[tuple[int, int, str]]:
    """One piece, or several where it is too long."""
    while end - start > _MAX_CHARS:
        blank = text.rfind(" ", start + _MAX_CHARS // 2, start + _MAX_CHARS)
        middle = blank + 1 if blank > 0 else start + _MAX_CHARS
        yield start, middle, ""
        start = middle
    if end > start:
        yield start, end, ""


def _kind_of(piece: str) -> str:
    """Sentence, line, equation or item: by the piece's beginning, its end and its number of words."""
    head = piece.strip()
    if _ITEM.match(head):
        return "item"
    if _DISPLAY.match(head):
        return "display"
    if _RELATION.search(head[:500]) and len(_WORD.findall(head[:500])) <= 2:
        return "equation"
    return "sentence" if head[-1:] and head.rstrip("*_\"'”’)]")[-1:] in ".!?。！？；…" else "line"
