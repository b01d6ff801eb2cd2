"""Worked solutions of GSM8K as honest traces: real prose, without its calculator annotations."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

from stillery.training.rewards.attacks import HonestTrace

_NOTE = re.compile(r"<<.*?>>")
_SUM = re.compile(r"(?<![\w.])(?<![-+*/x] )(?<![-+*/x])(\d+)\s*([-+*/x])\s*(\d+)\s*=\s*\$?(\d+)(?![\w.])")


def gsm8k_traces(path: Path) -> Iterator[HonestTrace]:
    """The solutions with an integer answer, with sums spaced ("48 / 2 = 24")."""
    for line in path.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        solution, _, answer = row["answer"].partition("####")
        lines = tuple(_SUM.sub(_spaced, text).strip() for text in _NOTE.sub("", solution).splitlines() if text.strip())
        if answer.strip().isdigit():
            yield HonestTrace(row["question"], answer.strip(), "number", (), lines)


def _spaced(match: re.Match[str]) -> str:
    one, operator, two, result = match.groups()
    return f"{one} {operator.replace('x', '*')} {two} = {result}"
