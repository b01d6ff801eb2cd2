"""Words that mark a step's intent ("wait", "let me check", "maybe"), as opposed to its content.

Markers are weak evidence: they may inform a label or a drawing, and with `markers=False` they are blanked before
anything is read. A word belongs here only if removing it leaves the assertion of its sentence unchanged.
"""

import re
from functools import lru_cache

SURPRISE = (
    r"wait(?: (?:a (?:minute|second|moment)))?|(?:hold|hang) on(?: (?:a (?:minute|second|moment)|again))?|hmm+|"
    r"a (?:second|minute|moment)(?=\s*[,.;:!?])|actually|oops|oh no|等等|等一下|不对"
)
REVIEW = (
    r"redo|checks?:|ok(?=\s*$)|(?:just )?to be (?:sure|safe|thorough)|double[- ]?check(?:ing)?|"
    r"(?:let me|let'?s|i(?:'ll| should| will| need to)|we should|to) (?:just |also )?(?:double[- ]?check|re-?check|"
    r"verify|check|confirm|re-?verify|re-?think|reconsider|re-?calculate|recompute|make sure|test|see if|go back|"
    r"recap)|"
    r"检查一下|验证一下|让我(?:再)?(?:检查|验证|确认|想想)"
)
EXPLORATION = (
    r"alternatively|maybe|perhaps|let me try(?: (?:another|a different) (?:way|approach|method))?|let'?s try|possibly|"
    r"i wonder|或者|也许|试试"
)
# Words that leave a sentence empty if it has no others. Some carry meaning elsewhere ("no"), so they are not blanked.
FILLER = (
    r"okay|ok|alright|all right|so|well|now|yes|yep|yeah|no|right|good|great|perfect|correct|cool|sure|exactly|hmm+|"
    r"let me (?:see|think|start|think about (?:it|this))|let'?s (?:see|think|start)|i think|i mean|you know|"
    r"got it|i see|interesting|careful|嗯|好的?|对|是的|那么|让我看看"
)

_LATIN_EDGE = r"(?<![a-z0-9_\\])(?:{})(?![a-z0-9_])"
_MARKER = re.compile(_LATIN_EDGE.format(f"{SURPRISE}|{REVIEW}|{EXPLORATION}|okay|alright|嗯"), re.IGNORECASE)
_ANY = re.compile(_LATIN_EDGE.format(f"{SURPRISE}|{REVIEW}|{EXPLORATION}|{FILLER}"), re.IGNORECASE)
# The allowed remainder of an empty sentence: pronouns and particles, no content word, digit or sign of maths.
_EMPTY = re.compile(
    r"(?:[\s.,;:!?…。，！？；：、\-–—*_\"'“”‘’()\[\]#]|(?<![a-z])(?:that|this|it|again|then|but|and|so|too|also|here|the|is|"
    r"i|me|a|by|with|for|if|to|of|my|oh|ah|um|uh|now|just|once|more|all|in|on|second|minute|moment)(?![a-z])|[的了吗吧呢啊再])*",
    re.IGNORECASE,
)
_MAX_FILLER_CHARS = 80
_TAG = re.compile(r"</?(?:think|thinking|reasoning)>|</answer>", re.IGNORECASE)


def is_filler(text: str) -> bool:
    """Whether a piece of text consists of markers and particles only, so that it is no step of its own."""
    return len(text.strip()) <= _MAX_FILLER_CHARS and _EMPTY.fullmatch(_ANY.sub(" ", text)) is not None


@lru_cache(maxsize=4096)
def mask(text: str) -> str:
    """The text with every marker and tag blanked, its length unchanged, so that positions stay valid."""
    return _TAG.sub(_blank, _MARKER.sub(_blank, text))


def _blank(match: re.Match[str]) -> str:
    return " " * len(match.group())
