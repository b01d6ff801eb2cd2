"""The boxed answers of a text. Pure and linear."""

import re
from dataclasses import dataclass

_BRACE = re.compile(r"\\(?:boxed|fbox)\s*\{|\\.|[{}]", re.DOTALL)
_BARE = re.compile(r"\\(?:boxed|fbox)\s+([^\s{}$\\]+)")
_BOX = re.compile(r"\\(?:boxed|fbox)\s*\{")
_TOKEN_BOX = re.compile(r"<\|begin_of_box\|>(.*?)<\|end_of_box\|>", re.DOTALL)
# The separators between boxes that together give one answer.
_MATHS_MARKS = re.compile(r"\$+|\\[()\[\],;:! ]|\\q?quad|[*_&]|\s")
_JOINS = re.compile(r"(?:,|;|and|or|,and|,or|\\text\{(?:and|or)\}|)")
_SENTENCE_END = re.compile(r"[.!?:](?:\s|$)|\n\s*\n")
_MAX_BETWEEN_CHARS = 80
_MAX_PART_CHARS = 2000
# The variable before a box that gives its value: x = \\boxed{3}.
_NAMED = re.compile(r"(?<![\w\\])([A-Za-z](?:_\w|_\{\w+\}|')?)\s*=\s*(?:\$|\\[(\[])?\s*\Z")
# The parts of a question, each with its own answer: "(b)", "Part 2:".
_PART = re.compile(
    r"(?:[\s*#.;,$]|\\[()\[\]])*(?:\([a-e]\)|\(i{1,3}\)|(?:part|question)\s*\(?[a-e1-5]\)?)", re.IGNORECASE
)


@dataclass(frozen=True, slots=True)
class Box:
    """The content of a box and its span of characters, `start` up to, not including, `end`."""

    content: str
    start: int
    end: int


def find_boxes(text: str) -> list[Box]:
    """The outermost closed boxes, in the order in which they close, without a box that wraps the whole of one."""
    if "<|begin_of_box|>" in text:
        text = _TOKEN_BOX.sub(r"\\boxed{\1}", text)
    if "boxed" not in text and "fbox" not in text:
        return []
    stack: list[tuple[int, int] | None] = []
    found: list[Box] = []
    for mark in _BRACE.finditer(text):
        token = mark.group()
        if token.endswith("{") and token != r"\{":
            stack.append((mark.start(), mark.end()) if token != "{" else None)
        elif token == "}" and stack:
            opened = stack.pop()
            if opened is not None:
                start, content_start = opened
                while found and found[-1].start > start:
                    found.pop()
                found.append(Box(_unboxed(text[content_start : mark.start()]), start, mark.end()))
    if not found:
        found = [Box(match[1].rstrip(".,;"), *match.span()) for match in _BARE.finditer(text)]
    return found


def last_boxed(text: str, *, several: bool = False) -> str | None:
    """The content of the last box; None if none closes.

    Boxes separated only by a comma, "and" or "or" are one answer, a list. With `several`, for a gold answer that names
    several, so are all boxes of one sentence.
    """
    boxes = find_boxes(text)
    if not boxes:
        return None
    joined = [boxes[-1]]
    for box in reversed(boxes[:-1]):
        between = text[box.end : joined[0].start]
        if not _is_joined(between, several=several):
            break
        joined.insert(0, box)
    named = [_named(text, box) for box in joined] if len(joined) > 1 else [joined[0].content]
    contents = list(dict.fromkeys(content for content in named if content))
    return ", ".join(contents) or None


def _named(text: str, box: Box) -> str:
    name = _NAMED.search(text, max(0, box.start - _MAX_BETWEEN_CHARS), box.start) if "=" not in box.content else None
    return f"{name[1]} = {box.content}" if name and box.content else box.content


def _is_joined(between: str, *, several: bool) -> bool:
    if several and _PART.match(between) and len(between) <= _MAX_PART_CHARS:
        return True
    if len(between) > _MAX_BETWEEN_CHARS or _SENTENCE_END.search(between):
        return False
    bare = _MATHS_MARKS.sub("", between)
    return several or (bare != "" and _JOINS.fullmatch(bare) is not None)


def _unboxed(content: str) -> str:
    content = content.strip()
    while (match := _BOX.match(content)) and _closes_last(content, match.end()):
        content = content[match.end() : -1].strip()
    return content


def _closes_last(content: str, start: int) -> bool:
    """Whether the brace that is open at `start` closes at the last character."""
    depth = 1
    for mark in _BRACE.finditer(content, start):
        token = mark.group()
        depth += token.endswith("{") and token != r"\{"
        depth -= token == "}"
        if not depth:
            return mark.end() == len(content)
    return False
