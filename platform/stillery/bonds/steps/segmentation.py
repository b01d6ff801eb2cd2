"""The text of a trace in, its reasoning steps out: spans that cover every character exactly once, in order.

A step is a sentence, a line, a list item, a displayed formula or a block of code. English and Chinese; linear in the
length of the text. A fragment that says nothing of its own ("Wait.", "Hmm, let me see:") is the head of the step after
it, so that taking such words out changes no step's number.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from stillery.bonds.model.markers import is_filler

# A step longer than this is cut at the next blank: nothing downstream has to read a megabyte as one sentence.
_MAX_CHARS = 4000
_MIN_FOLDED_CHARS = 60

_FENCE = re.compile(r"^[ \t]*(```|~~~)", re.MULTILINE)
_DISPLAY = re.compile(r"\\\[|\$\$|\\begin\{(equation|align|gather|multline|eqnarray|array|cases|[bpvV]?matrix)\*?\}")
_INLINE = re.compile(r"\\\((?:[^\\\n]|\\(?!\))){0,1000}\\\)|(?<![\\$\w])\$(?![\s$])[^$\n]{0,300}[^$\s\\]\$(?![\d$])")
_TAG = re.compile(
    r"</?(?:think|thinking|reasoning)>|<answer>(?:[^<]|<(?!/answer>)){0,2000}(?:</answer>)?", re.IGNORECASE
)
_SENTENCE_END = re.compile(
    r"(?P<wide>[。！？；]+[”’」』）)]*\s*)"
    r"|(?P<narrow>(?<![.\s])[.!?…]+(?:\*{1,2}|_|[\"'”’)\]])*(?=\s|$)\s*)"
    r"|(?P<line>\n\s*)"
)
_ABBREVIATION = re.compile(
    r"(?:\b(?:e\.g|i\.e|etc|vs|cf|approx|no|eq|eqs|fig|mr|mrs|ms|dr|st|prof|resp|min|max|sec|hrs?|w\.r\.t|a\.m|p\.m"
    r"|ft|lbs?|oz|ii|iii|iv)|(?:^|\s)(?-i:[A-Z])|^\s*(?:\(?\d{1,2}|\(?[a-zA-Z]))$",
    re.IGNORECASE,
)
_ITEM = re.compile(r"\s*(?:[-*•+]\s+|\(?\d{1,3}[.)、]\s*(?=\D)|\(?[a-zA-Z][.)]\s+|#{1,6}\s+|第.{1,3}步)")
_RELATION = re.compile(r"=|≈|≡|[<>≤≥]|\\(?:le|ge|leq|geq|approx|equiv)(?![a-zA-Z])")
_WORD = re.compile(r"(?<!\\)(?<![a-zA-Z\\])[a-zA-Z]{4,}|[\u4e00-\u9fff]{2,}")


@dataclass(frozen=True, slots=True)
class Span:
    """Characters `start` to `end` of the trace, and what sort of step they are."""

    start: int
    end: int
    kind: str


def segment(text: str) -> list[Span]:
    """The steps of a trace. Their spans join up, from 0 to its length; white space belongs to the step before it."""
    spans: list[Span] = []
    held: int | None = None
    for start, end, kind in _pieces(text):
        begin = start if held is None else held
        if kind == "tag" or (not kind and is_filler(text[start:end])):
            held = begin
            continue
        held = None
        spans.append(Span(begin, end, kind or _kind_of(text[begin:end])))
    if held is not None:
        held_start = spans.pop().start if spans else held
        spans.append(Span(held_start, len(text), _kind_of(text[held_start:])))
    return spans


def _pieces(text: str) -> Iterator[tuple[int, int, str]]:
    """Consecutive pieces of the text: (start, end, kind), kind "" for prose, whose kind is read off later."""
    position = 0
    for start, end, kind in _blocks(text):
        yield from _sentences(text, position, start)
        yield start, end, kind
        position = end
    yield from _sentences(text, position, len(text))


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
            end, kind = closing, "display"
        end += len(text[end : end + 200]) - len(text[end : end + 200].lstrip())
        yield found.start(), end, kind
        position = end


class _Closers:
    """Where a closing string next ends. A string that is nowhere to be found is looked for once only."""

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


def _sentences(text: str, start: int, end: int) -> Iterator[tuple[int, int, str]]:
    """The sentences and lines between two positions."""
    begin = start
    inline = _INLINE.finditer(text, start, end)
    maths = next(inline, None)
    for stop in _SENTENCE_END.finditer(text, start, end):
        while maths is not None and maths.end() <= stop.start():
            maths = next(inline, None)
        if maths is not None and maths.start() < stop.start() < maths.end():
            continue
        if stop["narrow"] is not None and _is_no_end(text, begin, stop):
            continue
        if stop["line"] is not None and _is_wrapped(text, begin, stop, end):
            continue
        yield from _cut(text, begin, stop.end())
        begin = stop.end()
    yield from _cut(text, begin, end)


def _cut(text: str, start: int, end: int) -> Iterator[tuple[int, int, str]]:
    """One piece, or several where it is too long."""
    while end - start > _MAX_CHARS:
        blank = text.rfind(" ", start + _MAX_CHARS // 2, start + _MAX_CHARS)
        middle = blank + 1 if blank > 0 else start + _MAX_CHARS
        yield start, middle, ""
        start = middle
    if end > start:
        yield start, end, ""


def _is_no_end(text: str, begin: int, stop: re.Match[str]) -> bool:
    """Whether a full stop belongs to an abbreviation or to the number of a list item."""
    if not stop.group().lstrip().startswith(".") or "\n" in stop.group():
        return False
    before = text[max(begin, stop.start() - 12) : stop.start()]
    is_short = _ABBREVIATION.search(before) is not None
    following = text[stop.end() : stop.end() + 1]
    if stop.start() - begin <= 3 and is_short:
        return True
    return is_short and not (following.isupper() and not before[-1:].islower())


def _is_wrapped(text: str, begin: int, stop: re.Match[str], end: int) -> bool:
    """Whether a line break is only where a long line of prose was folded."""
    if stop.group().count("\n") != 1 or stop.end() >= end:
        return False
    line = text[max(begin, text.rfind("\n", begin, stop.start()) + 1) : stop.start()]
    following = text[stop.end() : stop.end() + 60].partition("\n")[0]
    is_prose = len(line) >= _MIN_FOLDED_CHARS and (line[-1].isalpha() or line[-1] == ",")
    return is_prose and following[0].islower() and ":" not in following and ":" not in line


def _kind_of(piece: str) -> str:
    """Sentence, line, equation or item: by how the piece begins, ends and how many words it has."""
    head = piece.strip()
    if _ITEM.match(head):
        return "item"
    if _RELATION.search(head[:500]) and len(_WORD.findall(head[:500])) <= 2:
        return "equation"
    return "sentence" if head[-1:] and head.rstrip("*_\"'”’)]")[-1:] in ".!?。！？；…" else "line"
