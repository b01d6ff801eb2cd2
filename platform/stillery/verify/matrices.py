"""Whether a matrix equals another, or a tuple. Pure."""

from collections.abc import Callable

from stillery.maths.values import Matrix, Series, Value
from stillery.verify.undecided import all_of

# A function that decides whether two entries are the same.
Same = Callable[[Value, Value], bool | None]


def same_matrix(p: Matrix, g: Matrix, same: Same) -> bool | None:
    """Whether two matrices have the same entries in the same places."""
    if (p.kind == "vmatrix") != (g.kind == "vmatrix") or [*map(len, p.rows)] != [*map(len, g.rows)]:
        return False
    entries = [zip(mine, theirs, strict=True) for mine, theirs in zip(p.rows, g.rows, strict=True)]
    return all_of(same(a, b) for row in entries for a, b in row)


def same_vector(matrix: Matrix, listed: Series, same: Same) -> bool | None:
    """Whether a matrix of one column or row equals a tuple of its entries, or any matrix the list of its rows."""
    rows = [
        element.meaning.elements if isinstance(element.meaning, Series) else (element,) for element in listed.elements
    ]
    if listed.opening not in ("(", "[") or matrix.kind == "vmatrix":
        return False
    if len(matrix.rows) == 1 and all(len(row) == 1 for row in rows):
        rows = [tuple(entry for row in rows for entry in row)]
    if [*map(len, matrix.rows)] != [*map(len, rows)]:
        return False
    entries = [zip(mine, theirs, strict=True) for mine, theirs in zip(matrix.rows, rows, strict=True)]
    return all_of(same(a, b) for row in entries for a, b in row)
