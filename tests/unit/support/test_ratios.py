"""`make bench`'s ratios: the table shows what a script writes, beside the aim and the previous run."""

import importlib.util
import json
from pathlib import Path

from support.ratios import Ratio, read_ratios, write_ratios

BENCH = Path(__file__).parents[2] / "benchmarks" / "bench.py"


def _table(found: list[Ratio], before: list[Ratio]) -> str:
    spec = importlib.util.spec_from_file_location("bench", BENCH)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.table(found, before)


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    found = [Ratio("speed", 1.5, aim=0.95), Ratio("tokens", 0.6, aim=0.5, at_most=True)]
    write_ratios(tmp_path / "ratios.json", found)
    assert read_ratios(json.loads((tmp_path / "ratios.json").read_text())) == found


def test_the_table_names_what_misses_its_aim_and_the_run_before() -> None:
    lines = _table([Ratio("a", 0.9, 0.95), Ratio("b", 0.4, 0.5, at_most=True)], [Ratio("a", 0.85, 0.95)]).splitlines()
    assert lines[1].split() == ["a", "0.90", ">=", "0.95", "0.85", "not", "met"]
    assert lines[2].split() == ["b", "0.40", "<=", "0.5"]
