"""Readability flags of a completion, each with its evidence. Pure and linear.

The flags are those by which the published recipe for reasoning data filters its samples: mixed languages, long
paragraphs and code blocks (arXiv 2501.12948, section 2.3.3), and repetition and a broken template besides.
"""

import re
from collections import Counter
from dataclasses import dataclass

from stillery.verify.languages import find_foreign

MAX_PARAGRAPH_CHARS = 2000
MAX_LINE_REPEATS = 3
# Text beyond this many characters is ignored: no context window is longer.
MAX_READ_CHARS = 1_000_000
LOOP_TOKENS = 12
LOOP_REPEATS = 4
LOOP_STRETCH = 96
FLAGS = ("code_block", "mixed_languages", "long_paragraph", "repetition", "broken_template")

_EXCERPT_CHARS = 60
_FENCE = re.compile(r"```|^[ \t]*~~~", re.MULTILINE)
_ASKS_FOR_CODE = re.compile(
    r"```|~~~|\b(?:code|coding|programs?|programming|scripts?|implement|pseudocode|python|java|javascript|typescript"
    r"|rust|golang|sql|bash|html|css|regex|json|yaml)\b|\bC(?:\+\+|#)",
    re.IGNORECASE,
)
_TOKEN = re.compile(r"\S{1,32}")


@dataclass(frozen=True, slots=True)
class Flag:
    """One of `FLAGS`, with its location and content: "Han at characters 13-26: '然后我们'"."""

    name: str
    evidence: str


def find_flags(text: str, *, question: str = "", template: str = "ok", wants_code: bool = False) -> list[Flag]:
    """The flags of a completion, in the order of `FLAGS`, each at most once with its first occurrence.

    `code_block`: holds a fenced block though neither the question nor `wants_code` asks for code. `mixed_languages`:
    leaves the question's language. `long_paragraph`: over 2,000 characters without a newline. `repetition`: the same
    line four times in a row, or 96 tokens on end in which every 12 occur four times and more. `broken_template`:
    `template`, the state of the template, is not "ok".
    """
    text = text[:MAX_READ_CHARS]
    found = (
        None if wants_code else _code_block(text, question),
        _mixed_languages(text, question),
        _long_paragraph(text),
        _repeated_line(text) or _loop(text),
        None if template == "ok" else f"template is {template}",
    )
    return [Flag(name, evidence) for name, evidence in zip(FLAGS, found, strict=True) if evidence]


def _at(what: str, text: str, start: int, end: int) -> str:
    excerpt = text[start : min(end, start + _EXCERPT_CHARS)]
    return f"{what} at characters {start}-{end}: {excerpt!r}"


def _code_block(text: str, question: str) -> str | None:
    fence = _FENCE.search(text)
    if fence is None or _ASKS_FOR_CODE.search(question):
        return None
    closing = _FENCE.search(text, fence.end())
    return _at("code block", text, fence.start(), closing.end() if closing else len(text))


def _mixed_languages(text: str, question: str) -> str | None:
    foreign = find_foreign(text, question=question)
    return foreign and _at(foreign.name, text, foreign.start, foreign.end)


def _long_paragraph(text: str) -> str | None:
    start = 0
    for line in text.split("\n"):
        if len(line) > MAX_PARAGRAPH_CHARS:
            return _at(f"{len(line)} characters without a newline", text, start, start + len(line))
        start += len(line) + 1
    return None


def _repeated_line(text: str) -> str | None:
    previous, run, start, first = "", 0, 0, 0
    for raw in text.split("\n"):
        line = raw.strip()
        if line and line == previous:
            run += 1
        else:
            run, first = 1, start
        previous = line
        if run > MAX_LINE_REPEATS:
            return _at(f"a line {run} times in a row", text, first, start + len(raw))
        start += len(raw) + 1
    return None


def _loop(text: str) -> str | None:
    """A stretch of tokens every one of which lies in an n-gram that the text repeats: a phrase that is merely frequent
    is interrupted by other words, a loop is not."""
    tokens = _TOKEN.findall(text)
    windows = list(zip(*(tokens[i:] for i in range(LOOP_TOKENS)), strict=False))
    # In a loop at least 64 windows are repeats of others: 85 begin in the stretch, each of them four times in the text.
    if len(windows) - len(set(windows)) < LOOP_STRETCH * 2 // 3:
        return None
    times = Counter(windows)
    start = end = 0
    for i, window in enumerate(windows):
        if times[window] < LOOP_REPEATS:
            continue
        start = start if i <= end else i
        end = i + LOOP_TOKENS
        if end - start >= LOOP_STRETCH:
            spans = [match.span() for _, match in zip(range(end), _TOKEN.finditer(text), strict=False)]
            what = f"{LOOP_STRETCH} tokens that repeat up to {times[window]} times"
            return _at(what, text, spans[start][0], spans[-1][1])
    return None
