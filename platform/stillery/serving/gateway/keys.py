"""API keys: created, stored as hashes in a file, looked up.

A key is `stl_ID_SECRET`: ID finds its record, SECRET is 256 random bits. The file stores SHA-256 of a per-key salt and
the secret. A slow hash (bcrypt, scrypt) protects guessable passwords; 256 random bits cannot be guessed whatever the
hash costs, and a slow one would let anybody keep a core busy by sending wrong keys. The salt prevents comparing two
records. Digests are compared in constant time, and an unknown ID costs the same comparison.

The file holds one JSON record per line, and is replaced whole under a lock: a reader never sees half of one.
"""

import dataclasses
import fcntl
import hashlib
import hmac
import json
import math
import os
import re
import secrets
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

from stillery.errors import UserError

KEY = re.compile(r"stl_([0-9a-f]{12})_([A-Za-z0-9_-]{43})")
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")

# `api` gives access to every path, `metrics` to the metrics only.
KeyScope = Literal["api", "metrics"]


@dataclass(frozen=True)
class KeyRecord:
    """A key's stored record. Times are seconds since 1970; null: never."""

    id: str
    name: str
    scope: KeyScope
    salt: str
    sha256: str
    created_at: float
    expires_at: float | None = None
    revoked_at: float | None = None

    def opens(self, secret: str) -> bool:
        """Whether this is the key's secret, compared in constant time."""
        return hmac.compare_digest(_digest(self.salt, secret), self.sha256)

    def state(self, now: float) -> Literal["active", "expired", "revoked"]:
        """The key's state at time `now`."""
        if self.revoked_at is not None:
            return "revoked"
        return "expired" if self.expires_at is not None and now >= self.expires_at else "active"


# Compared against if there is no such key; no secret has this digest.
_NOBODY = KeyRecord(id="", name="", scope="api", salt="0" * 32, sha256="0" * 64, created_at=0.0)


def find_key(token: str, records: dict[str, KeyRecord]) -> KeyRecord | None:
    """The record of a client's token, including revoked and expired ones; None for any other token."""
    parts = KEY.fullmatch(token)
    key_id, secret = (parts[1], parts[2]) if parts else ("", "")
    record = records.get(key_id)
    opened = (record or _NOBODY).opens(secret)
    return record if opened else None


def read_keys(path: Path) -> dict[str, KeyRecord]:
    """The records of a key file by id. Raises UserError for a file that is missing or not one."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        raise UserError(
            f"key file {path} does not exist; make a key with `stillery serve keys add NAME --file {path}`"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"key file {path} cannot be read: {error}") from None
    records = [_record(line, f"key file {path}, line {number}") for number, line in enumerate(lines, 1) if line.strip()]
    return {record.id: record for record in records}


def add_key(path: Path, name: str, *, scope: KeyScope = "api", lifetime_s: float | None = None) -> str:
    """Add a new key to the file, which is created if missing; return the key, which is stored nowhere.

    Raises UserError for an invalid name or one that an active key has.
    """
    if not NAME.fullmatch(name):
        raise UserError(f"key name {name!r}: letters, digits and ._- only, at most 64, such as phone-app")
    if lifetime_s is not None and lifetime_s <= 0:
        raise UserError("a key's life must be above 0 days")
    key_id, secret, salt = secrets.token_hex(6), secrets.token_urlsafe(32), secrets.token_hex(16)
    now = time.time()
    record = KeyRecord(
        id=key_id,
        name=name,
        scope=scope,
        salt=salt,
        sha256=_digest(salt, secret),
        created_at=now,
        expires_at=None if lifetime_s is None else now + lifetime_s,
    )
    with _locked(path):
        records = read_keys(path) if path.exists() else {}
        if any(other.name == name and other.state(now) == "active" for other in records.values()):
            raise UserError(f"key file {path} has an active key named {name}; revoke it first, or take another name")
        _write(path, [*records.values(), record])
    return f"stl_{key_id}_{secret}"


def revoke_key(path: Path, name: str) -> KeyRecord:
    """Revoke the key of this name, or of this id, that is not revoked yet; return its record."""
    with _locked(path):
        records = read_keys(path)
        found = [r for r in records.values() if name in (r.name, r.id) and r.revoked_at is None]
        if not found:
            raise UserError(
                f"key file {path} has no key {name!r} to revoke; see `stillery serve keys list --file {path}`"
            )
        # Among several (an active key that took the name of an expired one), the active one.
        chosen = min(found, key=lambda record: record.state(time.time()) != "active")
        revoked = dataclasses.replace(chosen, revoked_at=time.time())
        _write(path, [revoked if r.id == revoked.id else r for r in records.values()])
    return revoked


def _digest(salt: str, secret: str) -> str:
    return hashlib.sha256(f"{salt}:{secret}".encode()).hexdigest()


def _record(line: str, place: str) -> KeyRecord:
    try:
        found: Any = json.loads(line)
        record = KeyRecord(**found)
    except (ValueError, TypeError, RecursionError):
        raise UserError(f"{place} is not a key record; take the line out, and make a new key") from None
    texts = (record.id, record.name, record.salt, record.sha256)
    times = (record.created_at, record.expires_at or 0.0, record.revoked_at or 0.0)
    if (
        not all(isinstance(cast(Any, text), str) for text in texts)
        or not all(isinstance(cast(Any, at), int | float) and math.isfinite(at) for at in times)
        or record.scope not in ("api", "metrics")
        or not NAME.fullmatch(record.name)
        or not re.fullmatch("[0-9a-f]{64}", record.sha256)
    ):
        raise UserError(f"{place} holds a key record with a wrong value; take the line out, and make a new key")
    return record


@contextmanager
def _locked(path: Path) -> Generator[None]:
    """Hold the lock file beside a key file, so that two concurrent commands do not lose each other's key."""
    if not path.parent.is_dir():
        raise UserError(f"key file {path}: the folder {path.parent} does not exist; make it first")
    with path.with_name(f"{path.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _write(path: Path, records: list[KeyRecord]) -> None:
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.writelines(json.dumps(dataclasses.asdict(record)) + "\n" for record in records)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
