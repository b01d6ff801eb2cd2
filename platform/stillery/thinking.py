"""The markers around a model's thinking, defined only here. Pure, and linear.

Every family has its own: tags (DeepSeek's and Qwen's <think>, Claude's <thinking>, others' <thought>, <reasoning>,
<seed:think>, <longcat_think>, …), brackets (Mistral's [THINK], Apriel's [BEGIN FINAL RESPONSE]), tokens (OpenThoughts'
<|begin_of_thought|>, Cohere's <|START_THINKING|>, Kimi's ◁think▷, s1's <|im_start|>think), channels (gpt-oss, Gemma). A
prompt may already have opened the thinking, so a closing marker alone ends it.
"""

import re
from dataclasses import dataclass

OPEN_THINK = "<think>"
CLOSE_THINK = "</think>"

_TAGS = (
    r"(?:\w+[:_])?(?:think(?:ing)?|thoughts?|reason(?:ing)?|reflection|scratchpad|analysis|inner_monologue)"
    r"(?:_(?:process|content|steps))?"
)
_TOKENS = "begin_of_thought|START_THINKING|think(?:ing)?|thought|think_start"
_OPENING = (
    rf"(?<=<){_TAGS}(?:\s[^<>\n]{{0,80}})?>|(?<=\[)THINK\]|(?<=<)\|(?:{_TOKENS})\|>|(?<=◁)think▷"
    r"|(?<=<)unused94>(?:thought)?|(?<=<)\|channel>thought|(?<=<)\|im_start\|>think(?=\n)"
    r"|(?<=<)(?:\|start\|>assistant<)?\|channel\|>(?!final)\w+[^<]{0,80}<\|message\|>"
)
# The beginning of the answer ends the thinking, whether or not that was closed.
_CLOSING = (
    rf"(?<=<)/{_TAGS}\s?>|(?<=\[)/THINK\]|(?<=<)\|(?:end_of_thought|END_THINKING|/think(?:ing)?|/thought|think_end)\|>"
    r"|(?<=◁)/think▷|(?<=<)unused95>|(?<=<)channel\|>|(?<=<)\|im_start\|>answer(?=\n)|(?<=\[)BEGIN FINAL RESPONSE\]"
    r"|(?<=<)\|(?:begin_of_solution|START_RESPONSE)\|>|(?<=<)(?:\|end\|><)?(?:\|begin\|>assistant<)?\|content\|>"
    r"|(?<=<)(?:\|end\|><)?(?:\|start\|>assistant<)?\|channel\|>final[^<]{0,80}<\|message\|>"
)
# It begins with a plain set of characters, for which searching a text is fast.
_MARKER = re.compile(rf"[<\[◁](?i:(?P<open>{_OPENING})|(?P<close>{_CLOSING}))")
_OPENED = re.compile(rf"[<\[◁](?i:{_OPENING})\s*\Z")
# The remains of channels where special tokens were dropped, and the phrases that Granite uses as markers.
_BARE = re.compile(
    r"\A\s*(?:analysis(?=\S)(?P<channel>.*?)assistantfinal"
    r"|Here(?: is|'s) my thought process:(?P<phrase>.*?)Here(?: is|'s) my response:)",
    re.DOTALL,
)
_END = re.compile(
    r"(?:\s*(?:<\|(?:end_of_solution|END_RESPONSE|return|end|im_end|eot_id|endoftext|end_of_text)\|>"
    r"|</s>|<[｜|]end▁of▁sentence[｜|]>|\[END FINAL RESPONSE\]))+\s*\Z"
)


@dataclass(frozen=True, slots=True)
class ThinkingSplit:
    """A text without its markers. `visible` is all text outside the thinking, `tail` what of it stands behind the last
    closing marker, from the character `tail_start` on; `unclosed` is thinking without an end, None if there is none."""

    hidden: list[str]
    visible: str
    tail: str
    tail_start: int
    unclosed: str | None
    # Whether there is one block, opened (here or by the prompt) and closed once.
    is_paired: bool
    # Whether the text begins with the thinking.
    is_first: bool
    # Whether the markers are <think> and </think> and no others.
    is_own: bool


def split_thinking(text: str, *, prefilled: bool = False) -> ThinkingSplit:
    """The thinking of a text, and the rest. `prefilled`: the prompt has already opened it."""
    if bare := _BARE.match(text):
        tail = _END.sub("", text[bare.end() :])
        return ThinkingSplit([bare["channel"] or bare["phrase"]], tail, tail, bare.end(), None, True, True, False)
    hidden: list[str] = []
    shown: list[str] = []
    opened = 0 if prefilled else None
    at = num_nested = 0
    is_first = prefilled
    markers = [*_MARKER.finditer(text)]
    for match in markers:
        start, end = match.span()
        before = text[at if opened is None else opened : start]
        if match["open"] is not None:
            if opened is None:
                is_first = is_first or not (hidden or before.strip())
                shown.append(before)
            # A model may reopen the thinking that its prompt had opened.
            num_nested += opened is not None and not (prefilled and not hidden and not before.strip())
            opened = end if opened is None or not before.strip() else opened
        elif opened is not None:
            hidden.append(before)
            opened, at = None, end
        elif hidden and not before.strip():
            at = end
        else:
            # Nothing opened it here, so all of this was thinking.
            is_first = is_first or not hidden
            hidden.append("".join(shown) + before)
            shown, at = [], end
    tail = text[at:] if opened is None else ""
    shown.append(tail)
    return ThinkingSplit(
        hidden=hidden,
        visible=_END.sub("", "".join(shown)) if markers else text,
        tail=_END.sub("", tail) if markers else text,
        tail_start=at,
        unclosed=None if opened is None else text[opened:],
        is_paired=opened is None and len(hidden) <= 1 and not num_nested,
        is_first=is_first,
        is_own=all(match.group() in (OPEN_THINK, CLOSE_THINK) for match in markers),
    )


def opens_thinking(prompt: str) -> bool:
    """Whether a rendered prompt ends within thinking that it opened."""
    return _OPENED.search(prompt[-200:]) is not None
