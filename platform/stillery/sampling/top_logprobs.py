"""The teacher's likeliest tokens at each token that it writes (`teacher.top_logprobs`): how to request them, and how to
parse the replies of vLLM and OpenAI-compatible servers.

A server names tokens by text or bytes; the ids come from the tokenizer configured for the teacher.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast

import numpy as np

from stillery.config import TeacherConfig
from stillery.errors import UserError
from stillery.records import TopLogprobs

# vLLM's own default of EngineArgs.max_logprobs.
MAX_LOGPROBS = 20
# Stands for a token that the tokenizer does not know.
NO_TOKEN = -1

_BYTE = re.compile(r"<0x([0-9A-Fa-f]{2})>")
# The format of a token from vLLM's server with `return_tokens_as_token_ids`.
_NUMBERED = re.compile(r"token_id:(\d+)")

# An alternative: its id, and its log-probability.
Alternative = tuple[int, float]


def asking_for(teacher: TeacherConfig) -> dict[str, Any]:
    """The sampling settings that request `teacher.top_logprobs`; none for 0."""
    k = teacher.top_logprobs
    if not k:
        return {}
    is_chat = teacher.kind == "endpoint" and teacher.endpoint.api == "chat"
    return {"logprobs": True, "top_logprobs": k} if is_chat else {"logprobs": k}


def check_top_logprobs(teacher: TeacherConfig) -> None:
    """Raise UserError for an unsupported number, or a teacher that gives none."""
    k = teacher.top_logprobs
    if k < 0:
        raise UserError(f"teacher.top_logprobs is {k}; it must be 0 or more")
    if not k:
        return
    if teacher.kind == "recorded":
        raise UserError("teacher.top_logprobs: recorded generations have no log-probabilities; set it to 0")
    if teacher.two_step:
        raise UserError("teacher.top_logprobs: teacher.two_step rewrites what the teacher wrote; set one of them to 0")
    most = int(teacher.engine.get("max_logprobs", MAX_LOGPROBS))
    if teacher.kind == "vllm" and 0 <= most < k:
        raise UserError(
            f"teacher.top_logprobs is {k}, and vLLM gives {most} at most: set teacher.engine.max_logprobs={k}"
        )


def from_vllm(output: Any, *, k: int) -> TopLogprobs | None:
    """Those of one of vLLM's completions that was requested with `logprobs=k`."""
    if output.logprobs is None:
        return None
    steps = ([(token, step.logprob) for token, step in found.items()] for found in output.logprobs)
    return collect(list(output.token_ids), steps, k=k)


def collect(token_ids: Sequence[int], steps: Iterable[Sequence[Alternative]], *, k: int) -> TopLogprobs:
    """The `k` likeliest of each step's alternatives; an unknown token is left out, so it counts among the rest."""
    top_ids = np.full((len(token_ids), k), NO_TOKEN, np.int32)
    top_logprobs = np.full((len(token_ids), k), -np.inf, np.float32)
    # Where an engine reports fewer steps than tokens, the last have none.
    for row, alternatives in zip(range(len(token_ids)), steps, strict=False):
        known = [pair for pair in alternatives if pair[0] != NO_TOKEN and pair[1] > -np.inf]
        for place, (token, logprob) in enumerate(sorted(known, key=lambda pair: -pair[1])[:k]):
            top_ids[row, place], top_logprobs[row, place] = token, logprob
    return TopLogprobs(k, np.array(token_ids, np.int32), top_ids.reshape(-1), top_logprobs.reshape(-1))


class TokenIds:
    """Token ids from a server's description of tokens: their bytes, their text, or their number."""

    def __init__(self, tokenizer: Any) -> None:
        vocabulary: dict[str, int] = tokenizer.get_vocab()
        added = {token.content for token in tokenizer.added_tokens_decoder.values()}
        spelled = _byte_alphabet() if "\u0120" in vocabulary else None
        self._ids: dict[bytes, int] = {}
        for token, number in vocabulary.items():
            written = token.encode() if token in added else _bytes_of(token, spelled)
            # For two tokens with the same text a server does not say which it means.
            self._ids[written] = number if written not in self._ids else NO_TOKEN

    def find(self, token: Mapping[str, Any]) -> int:
        """The id of a token in a server's reply, NO_TOKEN if it has none here."""
        text, given = str(token.get("token", "")), token.get("bytes")
        if numbered := _NUMBERED.fullmatch(text):
            return int(numbered[1])
        return self._ids.get(bytes(given) if given else text.encode("utf-8", "surrogatepass"), NO_TOKEN)


def from_server(given: Mapping[str, Any], *, ids: TokenIds, k: int) -> TopLogprobs | None:
    """Those of a choice's `logprobs`, in the format of chat completions or plain completions. None where there are
    none."""
    told = [_chat(token) for token in given.get("content") or []] or list(_plain(given))
    if not told:
        return None
    steps = ([(ids.find(other), float(other["logprob"])) for other in others] for _, others in told)
    return collect([ids.find(token) for token, _ in told], steps, k=k)


_Told = tuple[Mapping[str, Any], Sequence[Mapping[str, Any]]]


def _chat(token: Mapping[str, Any]) -> _Told:
    return token, token.get("top_logprobs") or []


def _plain(given: Mapping[str, Any]) -> Iterable[_Told]:
    tokens = cast(Sequence[str], given.get("tokens") or [])
    tops = cast(Sequence[Mapping[str, float] | None], given.get("top_logprobs") or [None] * len(tokens))
    for token, top in zip(tokens, tops, strict=True):
        yield {"token": token}, [{"token": text, "logprob": value} for text, value in (top or {}).items()]


def _bytes_of(token: str, spelled: Mapping[str, int] | None) -> bytes:
    """The bytes of a vocabulary's token: in a byte-level vocabulary each character stands for a byte (`spelled`), in
    others U+2581 stands for a space."""
    if spelled is not None and all(character in spelled for character in token):
        return bytes(spelled[character] for character in token)
    if byte := _BYTE.fullmatch(token):
        return bytes([int(byte[1], 16)])
    return token.replace("\u2581", " ").encode()


def _byte_alphabet() -> dict[str, int]:
    """The characters that byte-level vocabularies use for bytes (GPT-2's): printable ones stand for themselves, the
    others are mapped to U+0100 and above."""
    plain = [*range(ord("!"), ord("~") + 1), *range(ord("\u00a1"), ord("\u00ac") + 1), *range(ord("\u00ae"), 256)]
    others = [byte for byte in range(256) if byte not in set(plain)]
    return {chr(byte): byte for byte in plain} | {chr(256 + place): byte for place, byte in enumerate(others)}
