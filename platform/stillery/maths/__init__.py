"""Exact mathematics, for verification and bonds alike: `parse` a text to an expression, `evaluate` it exactly, and
`equal` for whether two expressions are the same."""

from stillery.maths.equality import equal
from stillery.maths.exact import evaluate
from stillery.maths.notation import normalize
from stillery.maths.parser import parse

__all__ = ["equal", "evaluate", "normalize", "parse"]
