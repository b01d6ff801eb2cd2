"""Mathematics for verification and bonds.

`read` parses a text to a value; or `parse` it to an expression, `evaluate` that exactly, and compare two with `equal`.
"""

from stillery.maths.equality import equal
from stillery.maths.exact import evaluate
from stillery.maths.notation import normalize
from stillery.maths.parser import parse
from stillery.maths.values import read

__all__ = ["equal", "evaluate", "normalize", "parse", "read"]
