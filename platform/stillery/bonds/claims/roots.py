"""The index of a root, by its sign or its name."""

ROOT_WORDS = {"square": 2, "cube": 3, "cubic": 3, "fourth": 4, "fifth": 5}
_ROOT_SIGNS = {"∛": 3, "∜": 4, "\\sqrt[]": 2}


def index_of(sign: str) -> int | None:
    """The index of a root by its sign; None for one that is not a number."""
    inside = sign.partition("[")[2].rstrip("]")
    if not inside:
        return _ROOT_SIGNS.get(sign, 2)
    return int(inside) if inside.isdecimal() and len(inside) < 4 else None
