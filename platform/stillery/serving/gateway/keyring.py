"""The keys of a running endpoint: a key file that is reloaded when it changes, and the check of a request's key."""

import logging
import time
from collections.abc import Callable
from pathlib import Path

from stillery.errors import UserError
from stillery.serving.gateway.asgi import Scope, header_values
from stillery.serving.gateway.errors import ApiError
from stillery.serving.gateway.keys import KeyScope, find_key, read_keys

logger = logging.getLogger(__name__)

# The interval between checks of the file: a revoked key is refused after at most this long.
CHECK_EVERY_S = 1.0


class Keyring:
    """The records of one key file.

    If the file becomes unreadable the last good records stay in force, with an error in the log; if it is removed there
    are no keys.
    """

    def __init__(self, path: Path, *, clock: Callable[[], float] = time.time) -> None:
        self._path = path
        self._clock = clock
        self._records = read_keys(path)
        self._signature = self._sign()
        self._checked_at = clock()

    def check(self, scope: Scope, wanted: KeyScope) -> str:
        """The name of a request's key. Raises an ApiError (401 or 403) if the key gives no access here."""
        self._reload()
        record = find_key(bearer_token(scope), self._records)
        if record is None:
            raise _unauthorized("Incorrect API key provided.", "invalid_api_key")
        state = record.state(self._clock())
        if state != "active":
            raise _unauthorized(f"This API key is {state}.", f"{state}_api_key")
        if record.scope != wanted:
            raise ApiError(
                403, f"This API key is for {record.scope} only.", reason="key", code="insufficient_permissions"
            )
        return record.name

    def _reload(self) -> None:
        now = self._clock()
        if 0 <= now - self._checked_at < CHECK_EVERY_S:
            return
        self._checked_at = now
        signature = self._sign()
        if signature == self._signature:
            return
        if signature is None:
            self._signature, self._records = None, {}
            logger.error("key file %s is gone: no key opens the endpoint until it is back", self._path)
            return
        try:
            self._records = read_keys(self._path)
            # Only now: an unreadable file is read again, or a revoked key would stay valid.
            self._signature = signature
        except UserError as error:
            logger.error("%s; the keys read before stay in force", error)

    def _sign(self) -> tuple[int, int, int] | None:
        try:
            found = self._path.stat()
        except OSError:
            return None
        return found.st_ino, found.st_mtime_ns, found.st_size


def bearer_token(scope: Scope) -> str:
    """The token of `Authorization: Bearer TOKEN`. Raises an ApiError (401) if there is none, or more than one."""
    values = header_values(scope, b"authorization")
    if not values:
        raise _unauthorized("No API key provided; send it as `Authorization: Bearer KEY`.", "missing_api_key")
    scheme, _, token = values[0].decode("latin-1").partition(" ")
    if len(values) > 1 or scheme.lower() != "bearer" or not token.strip():
        raise _unauthorized("Send the API key as `Authorization: Bearer KEY`.", "invalid_api_key")
    return token.strip()


def _unauthorized(message: str, code: str) -> ApiError:
    return ApiError(401, message, reason="key", code=code)
