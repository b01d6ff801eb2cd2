"""Real data outside the repository, for tests that skip if it is absent."""

import os
from pathlib import Path

import pytest

_REPOSITORY = Path(__file__).parents[2]


def shared_data(relative: str) -> Path:
    """The path of a file or folder below $STILLERY_SHARED_DATA (default: ../shared/data beside the repository).

    Skips the calling test, with the reason, if it does not exist.
    """
    root = Path(os.environ.get("STILLERY_SHARED_DATA") or _REPOSITORY / "../shared/data")
    path = (root / relative).resolve()
    if not path.exists():
        pytest.skip(f"needs {relative} under {root} (set STILLERY_SHARED_DATA to the folder that holds it)")
    return path
