"""Residues: x \\equiv 5 \\pmod 7, 2, 5 (mod 7) -> one value. Pure.

Only congruences and classes are read; 12 mod 5 without brackets is an operation.
"""

import re
from dataclasses import dataclass

from stillery.maths.lists import split_list

_RESIDUE = re.compile(
    r"(?:(?P<name>[a-zA-Z])\s*(?P<relation>\\equiv|=)\s*)?(?P<values>-?\d{1,18}(?:[\s\d,-]|or|and)*?)\s*"
    r"(?P<mark>\\pmod\s*|\(\s*\\?(?:b?mod|modulo)\s*|\\b?mod\s*|mod(?:ulo)?\s+)\{?\s*(?P<modulus>\d{1,18})\s*\}?\s*\)?",
    re.ASCII,
)


@dataclass(frozen=True, slots=True)
class Residues:
    """The residue classes modulo one number; `name` is the variable in them, if the text names one."""

    values: frozenset[int]
    modulus: int
    name: str | None


def parse_residues(text: str) -> Residues | None:
    """The residue classes that a normalised text denotes; None if it denotes none."""
    match = _RESIDUE.fullmatch(text) if "mod" in text else None
    if match is None or int(match["modulus"]) == 0:
        return None
    is_operation = not (match["mark"].startswith((r"\pmod", "(")) or match["relation"] == r"\equiv")
    values = split_list(match["values"])
    if is_operation or not all(re.fullmatch(r"-?\d+", value) for value in values):
        return None
    modulus = int(match["modulus"])
    return Residues(frozenset(int(value) % modulus for value in values), modulus, match["name"])


def same_residues(first: Residues, second: Residues) -> bool:
    """Whether two texts name the same classes of the same variable, if both name one."""
    if first.name is not None and second.name is not None and first.name != second.name:
        return False
    return (first.values, first.modulus) == (second.values, second.modulus)
