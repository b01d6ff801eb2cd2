"""`stillery serve keys add|list|revoke`: manages the key file."""

import argparse
import time
from datetime import UTC, datetime
from pathlib import Path

from stillery.serving.gateway.keys import add_key, read_keys, revoke_key

_DAY_S = 24 * 60 * 60


def run_keys(parsed: argparse.Namespace) -> str:
    """Run a `stillery serve keys` command; return the output. Raises UserError."""
    path = Path(parsed.file)
    if parsed.action == "add":
        lifetime_s = None if parsed.days is None else parsed.days * _DAY_S
        return add_key(path, parsed.name, scope="metrics" if parsed.metrics else "api", lifetime_s=lifetime_s)
    if parsed.action == "revoke":
        record = revoke_key(path, parsed.name)
        return f"revoked {record.name} ({record.id})"
    return _table(path)


def _table(path: Path) -> str:
    now = time.time()
    lines = [f"{'name':<24}{'id':<14}{'scope':<9}{'state':<9}{'made':<18}expires"]
    for record in read_keys(path).values():
        expires = "never" if record.expires_at is None else _moment(record.expires_at)
        lines.append(
            f"{record.name:<24}{record.id:<14}{record.scope:<9}{record.state(now):<9}"
            f"{_moment(record.created_at):<18}{expires}"
        )
    return "\n".join(lines)


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M")
