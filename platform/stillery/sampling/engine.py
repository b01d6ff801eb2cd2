"""The interface of every engine, whatever backend runs behind it."""

import json
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from stillery.records import Generation, Request


class BrokenEngineError(Exception):
    """An engine that cannot go on, or did not start; another may do better. Its text says what broke it."""

    @classmethod
    def of(cls, error: Exception) -> "BrokenEngineError":
        """What befell the engine, with its cause."""
        broken = cls(f"{type(error).__name__}: {error}")
        broken.__cause__ = error
        return broken


class Engine(Protocol):
    """Takes requests at any time, from any thread, and hands back each sample when it finishes.

    A request that is refused or fails on its own comes back as a Generation with `error` set. `done` is called from
    a thread of the engine's and must return at once; an engine that breaks calls it with the exception.
    """

    def submit(
        self, request: Request, *, sampling: Mapping[str, Any], done: Callable[[Generation | Exception], None]
    ) -> None: ...

    def close(self) -> None: ...


class Judge(Protocol):
    """Says of samples whether they are accepted, beside the engine: `done` is called from a thread of the judge's.

    It is given None for a sample that is not accepted, else what it counts as: of a prompt's samples with the same key
    only the first by index is accepted.
    """

    def submit(self, generation: Generation, *, done: Callable[[str | Exception | None], None]) -> None: ...


def settings_json(sampling: Mapping[str, Any]) -> str:
    """Sampling settings as a Generation records them."""
    return json.dumps(dict(sampling), sort_keys=True)
