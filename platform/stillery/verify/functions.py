"""User functions, named as `package.module:name`: a verifier (`verify.function`), and curation's filters.

A verifier gets a `GradingTask` and returns True (correct), False (wrong) or None (the rules decide), either alone or in
a tuple with its evidence, a text. It runs in the grading workers, under their deadline.
"""

import hashlib
import importlib
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

from stillery.errors import UserError

MAX_EVIDENCE_CHARS = 2000


def load_function(name: str, *, key: str, arguments: int) -> Callable[..., Any]:
    """The function that a config's `key` names. Raises UserError where it cannot be imported, is not a function, or
    does not take this many positional arguments."""
    module, colon, attribute = name.partition(":")
    try:
        function = getattr(importlib.import_module(module), attribute) if colon else None
    except Exception as error:
        # Boundary: importing the user's module may raise anything.
        raise UserError(
            f"{key}: {name} cannot be imported ({type(error).__name__}: {error}); give package.module:name, on the "
            "PYTHONPATH of every machine"
        ) from None
    if not callable(function):
        raise UserError(f"{key}: {name} is no function; give package.module:name")
    try:
        inspect.signature(function).bind(*range(arguments))
    except TypeError:
        raise UserError(
            f"{key}: {name}{inspect.signature(function)} does not take {arguments} positional argument"
            f"{'s' if arguments > 1 else ''}; docs/guides/curation.md says what it is given"
        ) from None
    except ValueError:
        pass  # A C function without a signature.
    return function


def function_identity(name: str, *, key: str, arguments: int) -> dict[str, str]:
    """A function's identity in a fingerprint: its name and a digest of its source file."""
    function = load_function(name, key=key, arguments=arguments)
    try:
        file = inspect.getsourcefile(inspect.unwrap(function))
    except TypeError:
        file = None
    code = "" if file is None else hashlib.sha256(Path(file).read_bytes()).hexdigest()
    return {"name": name, "code": code}


def read_reply(reply: object) -> tuple[bool | None, str | None]:
    """A verifier's return value as (verdict, evidence). Raises ValueError for any other type."""
    verdict: object = reply
    evidence: object = None
    if isinstance(reply, tuple) and len(cast(tuple[object, ...], reply)) == 2:
        verdict, evidence = cast(tuple[object, object], reply)
    if not (verdict is None or isinstance(verdict, bool)) or not (evidence is None or isinstance(evidence, str)):
        raise ValueError(f"it returned {repr(reply)[:80]}; expected True, False or None, or one of them with a text")
    return verdict, evidence and evidence[:MAX_EVIDENCE_CHARS]
