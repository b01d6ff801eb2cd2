"""The cards (README.md) of datasets and models: the licence in their front matter."""

import contextlib
from collections.abc import Sequence
from typing import Any, cast

import yaml

from stillery.io.storage import Folder

CARD = "README.md"
# For a folder whose card states no licence, but which contains the licence text.
_TEXTS = ("LICENSE", "LICENSE.txt", "LICENSE.md", "LICENCE", "COPYING")
SEE_TEXT = "see LICENSE"


def licenses_in(card: str) -> list[str]:
    """The licences in a card's front matter, as Hub identifiers; for `other` its own name. Empty where it names
    none."""
    front = _front_matter(card)
    said: Any = front.get("license")
    names = [str(name).strip() for name in cast(list[Any], said if isinstance(said, list) else [said]) if name]
    own = str(front.get("license_name") or "").strip()
    return [own if name == "other" and own else name for name in names if name]


def licenses_of(folder: Folder) -> list[str]:
    """The licences in a folder's card; SEE_TEXT where there is only a file LICENSE; empty where there is neither."""
    with contextlib.suppress(OSError, UnicodeDecodeError):
        if found := licenses_in(folder.read_bytes(CARD).decode("utf-8")):
            return found
    return [SEE_TEXT] if any(name in _TEXTS for name in folder.names()) else []


def license_lines(licenses: Sequence[str]) -> list[str]:
    """The front-matter lines that name licences; none without any. A licence that is not a Hub identifier becomes
    `other`, with its name."""
    told = list(dict.fromkeys(name.lower() if _is_identifier(name.lower()) else "other" for name in licenses))
    own = next((name for name in licenses if name != SEE_TEXT and not _is_identifier(name.lower())), None)
    front: dict[str, Any] = {"license": told[0] if len(told) == 1 else told} if told else {}
    front |= {} if own is None else {"license_name": own}
    return yaml.safe_dump(front, sort_keys=False).splitlines() if front else []


def _is_identifier(name: str) -> bool:
    return name.isascii() and name.replace("-", "").replace(".", "").replace("+", "").isalnum()


def _front_matter(card: str) -> dict[str, Any]:
    if not card.startswith("---"):
        return {}
    try:
        front: Any = yaml.safe_load(card.removeprefix("---").partition("\n---")[0])
    except yaml.YAMLError:
        return {}
    return cast(dict[str, Any], front) if isinstance(front, dict) else {}
