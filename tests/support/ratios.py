"""Ratios measured by a benchmark, as collected by `make bench`: one JSON file per script, one history line per run."""

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Ratio:
    """One figure of two sides that ran in turn. `aim` is the required minimum, or with `at_most` the maximum."""

    name: str
    value: float
    aim: float
    at_most: bool = False

    @property
    def met(self) -> bool:
        return self.value <= self.aim if self.at_most else self.value >= self.aim


def add_json_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", type=Path, metavar="OUT", help="write the ratios there, for `make bench`")


def write_ratios(path: Path | None, ratios: Sequence[Ratio]) -> None:
    """Write the file named by `--json`, if given."""
    if path is not None:
        path.write_text(json.dumps([asdict(ratio) for ratio in ratios], indent=1) + "\n")


def read_ratios(rows: Sequence[Mapping[str, Any]]) -> list[Ratio]:
    return [Ratio(**row) for row in rows]
