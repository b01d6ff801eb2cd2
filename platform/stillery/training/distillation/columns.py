"""Aligns stored log-probabilities with a training row's tokens.

In: a row, and the teacher's likeliest alternatives at each token of its sample. Out: two columns, one value per token:
the ids and the log-probabilities of the alternatives to it, empty where there are none. A token has alternatives if the
teacher wrote the same token after the same text: tokens added by a chat template, and tokens that the teacher split
otherwise, have none.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from stillery.records import TopLogprobs
from stillery.sampling.chat.conversation import ChatRow
from stillery.sampling.top_logprobs import NO_TOKEN

# This many characters at the beginning locate a text.
ANCHOR = 16

TOP_IDS, TOP_LOGPROBS = "top_ids", "top_logprobs"


def distill_columns(tokenizer: Any, row: ChatRow, top: TopLogprobs | None) -> dict[str, Any]:
    """The two columns of a row; `top` is None for a sample without log-probabilities."""
    places = {} if top is None else _places(tokenizer, row.completion_ids, top)
    ids: list[list[int]] = [[] for _ in row.input_ids]
    logprobs: list[list[float]] = [[] for _ in row.input_ids]
    if top is not None:
        width = len(tokenizer)
        of_ids, of_logprobs = top.top_ids.reshape(-1, top.k), top.top_logprobs.reshape(-1, top.k)
        for place, theirs in places.items():
            # Ids beyond the vocabulary are padding of the teacher's output layer.
            found = [NO_TOKEN if number >= width else number for number in of_ids[theirs].tolist()]
            if any(number != NO_TOKEN for number in found):
                ids[len(row.prompt_ids) + place] = found
                logprobs[len(row.prompt_ids) + place] = of_logprobs[theirs].tolist()
    return {TOP_IDS: ids, TOP_LOGPROBS: logprobs}


def _places(tokenizer: Any, completion: Sequence[int], top: TopLogprobs) -> dict[int, int]:
    """The completion tokens that the teacher wrote, each with its index among the teacher's."""
    theirs: list[int] = top.token_ids.tolist()
    theirs = theirs[: theirs.index(NO_TOKEN)] if NO_TOKEN in theirs else theirs
    starts, text = _starts(tokenizer, theirs)
    ours, whole = _starts(tokenizer, completion)
    found = _match(text, whole, last=_body(tokenizer, theirs, starts, text))
    if found is None:
        return {}
    shift, same = found
    ends = [*starts[1:], len(text)]
    shifted = _numbered([start + shift for start in starts])
    known = {key: place for place, key in enumerate(shifted) if ends[place] <= same}
    return {
        place: known[key]
        for place, key in enumerate(_numbered(ours))
        if key in known and theirs[known[key]] == completion[place]
    }


def _starts(tokenizer: Any, tokens: Sequence[int]) -> tuple[list[int], str]:
    """The start of each token in the whole text, and that text. Tokens that together encode one character share its
    start."""
    from tokenizers.decoders import DecodeStream

    stream, starts, text = DecodeStream(skip_special_tokens=False), list[int](), ""
    for token in tokens:
        starts.append(len(text))
        text += stream.step(tokenizer.backend_tokenizer, token) or ""
    return starts, text


def _body(tokenizer: Any, tokens: Sequence[int], starts: Sequence[int], text: str) -> int:
    """Where the special tokens at a text's end begin: the teacher's end of turn may differ from the student's."""
    special, end = set(tokenizer.all_special_ids), len(text)
    for token, start in zip(reversed(tokens), reversed(starts), strict=True):
        if token not in special:
            break
        end = start
    return end


def _match(text: str, whole: str, *, last: int) -> tuple[int, int] | None:
    """The shift of the text, without leading white space, in the whole, and the end of their common part: they diverge
    at a stop string, another end of turn or a rewritten part. None where the beginning of the text before `last` is not
    found."""
    left = len(text) - len(text.lstrip())
    begin = text[left:last][:ANCHOR].rstrip()
    found = whole.find(begin) if begin else -1
    if found < 0:
        return None
    return found - left, left + _num_same(text[left:], whole[found:])


def _num_same(one: str, other: str) -> int:
    """The length of the common prefix of two texts."""
    return next((n for n, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))


def _numbered(starts: Sequence[int]) -> list[tuple[int, int]]:
    """Each start with the number of earlier tokens that have the same start."""
    seen = Counter[int]()
    numbered: list[tuple[int, int]] = []
    for start in starts:
        numbered.append((start, seen[start]))
        seen[start] += 1
    return numbered
