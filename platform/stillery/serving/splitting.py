"""Splits `<think> … </think><answer> … </answer>` into reasoning and content while it streams. Pure.

It works on the text, since in most vocabularies these tags are several tokens: a piece that may yet become a tag is
held back until that is decided. A completion that does not begin with a think block is all content.
"""

import re
from collections.abc import Sequence

from stillery.thinking import CLOSE_THINK, OPEN_THINK

_ANSWER_TAGS = ("<answer>", "</answer>")
_ANSWER_TAG = re.compile("|".join(_ANSWER_TAGS))


class ThinkAnswerSplitter:
    """Pieces of one completion in, (reasoning, content) pieces out. `prefilled`: the prompt opened the think block."""

    def __init__(self, *, prefilled: bool = False) -> None:
        self._held = ""
        self._phase = "thinking" if prefilled else "start"
        self._has_content = False

    def feed(self, piece: str) -> tuple[str, str]:
        """The decided output after another piece of the completion."""
        self._held += piece
        reasoning, content = "", ""
        if self._phase == "start":
            self._begin()
        if self._phase == "thinking":
            reasoning = self._take_thinking()
        if self._phase == "content":
            content = self._take_content()
        return reasoning, content

    def finish(self) -> tuple[str, str]:
        """The text that was held back, once the completion has ended."""
        held, self._held = self._held, ""
        return (held, "") if self._phase == "thinking" else ("", held)

    def _begin(self) -> None:
        start = self._held.lstrip()
        if start.startswith(OPEN_THINK):
            self._held = start.removeprefix(OPEN_THINK)
            self._phase = "thinking"
        elif not OPEN_THINK.startswith(start):
            self._phase = "content"

    def _take_thinking(self) -> str:
        before, tag, after = self._held.partition(CLOSE_THINK)
        if tag:
            self._held, self._phase = after, "content"
            return before
        return self._release(_undecided(self._held, (CLOSE_THINK,)))

    def _take_content(self) -> str:
        *whole, self._held = _ANSWER_TAG.split(self._held)
        content = "".join(whole) + self._release(_undecided(self._held, _ANSWER_TAGS))
        if not self._has_content:
            # The white space between the blocks is not part of the answer.
            content = content.lstrip()
            self._has_content = bool(content)
        return content

    def _release(self, kept: int) -> str:
        """Everything held back except its last `kept` characters."""
        cut = len(self._held) - kept
        released, self._held = self._held[:cut], self._held[cut:]
        return released


def _undecided(text: str, tags: Sequence[str]) -> int:
    """The length of the longest suffix of the text that is a prefix of one of the tags."""
    longest = max(len(tag) for tag in tags) - 1
    for length in range(min(longest, len(text)), 0, -1):
        if any(tag.startswith(text[-length:]) for tag in tags):
            return length
    return 0
