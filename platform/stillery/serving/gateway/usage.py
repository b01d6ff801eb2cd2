"""Token usage of a response, read in passing without delaying or changing it."""

import json
from dataclasses import dataclass
from typing import Any, TypeGuard, cast

_LONGEST_JSON = 4 * 1024 * 1024
_LONGEST_EVENT = 256 * 1024


@dataclass(frozen=True)
class Usage:
    """Token counts; `known` is false where the response had none (a stream has them only on request)."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    known: bool = False


class UsageReader:
    """Reads `usage` from a JSON response, or from the last event of a stream that carries it."""

    def __init__(self, content_type: str) -> None:
        self._is_stream = content_type.startswith("text/event-stream")
        self._limit = _LONGEST_EVENT if self._is_stream else _LONGEST_JSON
        self._active = self._is_stream or content_type.startswith("application/json")
        self._kept = bytearray()
        self.usage = Usage()

    def feed(self, piece: bytes, *, last: bool) -> None:
        """The next piece of the response's body."""
        if not self._active:
            return
        self._kept += piece
        if self._is_stream:
            *lines, rest = self._kept.split(b"\n")
            self._kept = rest
            for line in lines:
                if line.startswith(b"data:") and b'"usage"' in line:
                    self._read(bytes(line[5:]))
        elif last and b'"usage"' in self._kept:
            self._read(bytes(self._kept))
        # A line or document without an end is not kept.
        self._active = len(self._kept) <= self._limit

    def _read(self, text: bytes) -> None:
        try:
            found: Any = json.loads(text)
        except (ValueError, RecursionError):
            return
        usage: Any = cast(dict[str, Any], found).get("usage") if isinstance(found, dict) else None
        if isinstance(usage, dict):
            counts = cast(dict[str, Any], usage)
            prompt, completion = counts.get("prompt_tokens"), counts.get("completion_tokens", 0)
            if _is_count(prompt) and _is_count(completion):
                self.usage = Usage(prompt, completion, known=True)


def _is_count(value: Any) -> TypeGuard[int]:
    return isinstance(value, int) and 0 <= value < 2**53
