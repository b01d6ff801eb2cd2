"""The common interface of all engines."""

import json
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from stillery.records import Generation, Request


class BrokenEngineError(Exception):
    """An engine that cannot continue, or did not start; another one may succeed. The text names the cause."""

    @classmethod
    def of(cls, error: Exception) -> "BrokenEngineError":
        """The engine's failure, with its cause."""
        broken = cls(f"{type(error).__name__}: {error}")
        broken.__cause__ = error
        return broken


class Engine(Protocol):
    """Takes requests at any time, from any thread, and returns each sample as it finishes.

    A request that is refused or fails on its own comes back as a Generation with `error` set. `done` is called from one
    of the engine's threads and must return at once; an engine that breaks calls it with the exception.
    """

    def submit(
        self, request: Request, *, sampling: Mapping[str, Any], done: Callable[[Generation | Exception], None]
    ) -> None: ...

    def close(self) -> None: ...


class Judge(Protocol):
    """Decides whether samples are accepted, in parallel with the engine: `done` is called from one of the judge's
    threads.

    `done` receives None for a sample that is not accepted, else its key: of a prompt's samples with the same key only
    the first by index is accepted.
    """

    def submit(self, generation: Generation, *, done: Callable[[str | Exception | None], None]) -> None: ...


def settings_json(sampling: Mapping[str, Any]) -> str:
    """Sampling settings in the format of a Generation."""
    return json.dumps(dict(sampling), sort_keys=True)
