"""Strips Markdown: emphasis, headings, bullets and fences. Pure, and linear.

Multiplication signs, subscripts and powers stay: emphasis begins and ends at the edge of a word. Struck-out text is
removed, unless it is all there is.
"""

import re

_MARKS = re.compile(r"[*_`~#>]|^\s*-\s", re.MULTILINE)
_FENCE = re.compile(r"^[ \t]*(?:```|~~~)[\w+-]*[ \t]*\n?|```", re.MULTILINE)
_LINE_START = re.compile(r"^[ \t]*(?:>[ \t]?)*(?:#{1,6}[ \t]+|[*+\u2022][ \t]+|-[ \t]+(?=[^\s\d.$\\-]))?", re.MULTILINE)
_LINE_START_NO_QUOTE = re.compile(_LINE_START.pattern.replace("(?:>[ \\t]?)*", ""), re.MULTILINE)
_RULE = re.compile(r"^[ \t]*(?:\*[ \t]*){3,}$|^[ \t]*(?:_[ \t]*){3,}$", re.MULTILINE)
_STRUCK = re.compile(r"~~(?=\S)([^~\n]{1,200})~~|<(?:del|s|strike)>([^<\n]{1,200})</(?:del|s|strike)>")
_CODE = re.compile(r"`([^`\n]{1,400})`")
_TAG = re.compile(r"</?(?:b|strong|i|em|u|mark|code|p|span)>|<br\s*/?>", re.IGNORECASE)
_EMPHASIS = (
    re.compile(r"(?<![\w*)\]}\\])\*{1,3}(?=[^\s*])([^*\n]{1,600}?)(?<=[^\s*])\*{1,3}(?![\w*({\\])"),
    re.compile(r"(?<![\w_)\]}\\$])_{1,3}(?=[^\s_{])([^_\n]{1,600}?)(?<=[^\s_])_{1,3}(?![\w_])"),
)


def strip_markdown(text: str, *, has_quotes: bool = True) -> str:
    """The text without markdown and HTML emphasis; its line breaks stay. Without `has_quotes`, for a single answer, `>`
    at the start of a line is a sign of inequality, not a quotation."""
    if _TAG.search(text):
        text = _TAG.sub("", text)
    if not _MARKS.search(text) and "<" not in text:
        return text
    if _STRUCK.search(text):
        kept = _STRUCK.sub(" ", text)
        text = kept if kept.strip(" \n.*_`") else _STRUCK.sub(r"\1\2", text)
    text = _CODE.sub(r"\1", _FENCE.sub("", text)) if "`" in text else text
    text = (_LINE_START if has_quotes else _LINE_START_NO_QUOTE).sub("", _RULE.sub("", text))
    for _ in range(2):
        for emphasis in _EMPHASIS:
            text = emphasis.sub(r"\1", text)
    return text
