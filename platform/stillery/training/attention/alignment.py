"""Locates a target's characters in a model's tokens, whatever its tokenizer and its chat template's white space."""

import bisect
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from stillery.bonds.measure.attention import steps_of_tokens
from stillery.records import AttentionSource

Span = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Aligned:
    """A prompt with its completion in tokens. `sources` gives for each token the source that it belongs to, counted
    from 1, or 0: no source, or the first token, which attracts attention whatever its content. `queries` are the
    positions that predict the first token of each operand; None where another operand has it, or fewer than two sources
    have tokens."""

    input_ids: list[int]
    sources: list[int]
    queries: list[int | None]


def align(
    tokenizer: Any,
    *,
    prompt: str,
    completion: str,
    question: str,
    content: str,
    sources: Sequence[AttentionSource],
    operands: Sequence[tuple[int, int, int]],
) -> Aligned | None:
    """Find sources and operands in the tokens of `prompt` and `completion`, which are tokenized separately.

    `prompt` holds the question and `completion` the content, both up to white space; the beginning of the content may
    be part of the prompt. `operands` are their first and last character in the content and the number of sources before
    them. None where question or content are not found.
    """
    whole = prompt + completion
    asked, said = _places(question, prompt), _places(content, whole)
    if asked is None or said is None:
        return None
    encoded = tokenizer([prompt, completion], add_special_tokens=False, return_offsets_mapping=True)
    offsets: list[Span] = [tuple(span) for span in encoded["offset_mapping"][0]]
    offsets += [(start + len(prompt), end + len(prompt)) for start, end in encoded["offset_mapping"][1]]
    spans = [(asked if s.of_question else said).span(s.start, s.end) for s in sources]
    present = [(number, span) for number, span in enumerate(spans, 1) if span is not None]
    numbers = [number for number, _ in present] + [0]
    of_tokens = [numbers[step] for step in steps_of_tokens(offsets, [span for _, span in present])]
    of_tokens[:1] = [0]
    ends = [end for _, end in offsets]
    first = dict[int, int]()
    for position, number in enumerate(of_tokens):
        first.setdefault(number, position)
    queries: list[int | None] = []
    taken: set[int] = set()
    for start, end, num_before in operands:
        span = said.span(start, end)
        query = None if span is None else bisect.bisect_right(ends, span[0]) - 1
        if query is not None and (query < 0 or query in taken):
            query = None
        if query is not None and sum(first.get(n, query + 1) <= query for n in range(1, num_before + 1)) < 2:
            query = None
        if query is not None:
            taken.add(query)
        queries.append(query)
    return Aligned(encoded["input_ids"][0] + encoded["input_ids"][1], of_tokens, queries)


@dataclass(frozen=True, slots=True)
class _Places:
    """The position in another text of each non-white-space character of a text; `before` counts them up to each."""

    of_black: list[int]
    before: list[int]

    def span(self, start: int, end: int) -> Span | None:
        """Characters `start` to `end` there, without white space at the ends; None for white space alone."""
        first, last = self.before[start], self.before[end]
        return None if first == last else (self.of_black[first], self.of_black[last - 1] + 1)


def _places(text: str, whole: str) -> _Places | None:
    """The last occurrence of a text in another, up to white space; None where there is none."""
    black = [i for i, character in enumerate(whole) if not character.isspace()]
    before = [0]
    for character in text:
        before.append(before[-1] + (0 if character.isspace() else 1))
    begin = "".join(whole[i] for i in black).rfind("".join(text.split()))
    return None if begin < 0 else _Places(black[begin : begin + before[-1]], before)
