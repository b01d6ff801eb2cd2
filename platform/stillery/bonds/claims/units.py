"""The length in tokens of the unit after a number ("5 apples", "3 liters/min", "20 cm^2", "8 (Samuel)")."""

from collections.abc import Sequence

from stillery.bonds.claims.tokens import ClaimToken

_MAX_UNIT_WORDS = 8
# Words that join two statements are not units of the number before them.
_NO_UNITS = frozenset(
    "or so then but if because since as which when where we he she they it i you therefore thus hence not also "
    "while after before has have had leaving now get gets got need needs "
    "doubled tripled quadrupled halved squared cubed factorial".split()
)
# Words that a unit may hold, but neither begin nor end with ("hats for boys + 3").
_INNER = frozenset("and for to from with in on at the that".split())
_PER = frozenset(("per", "each", "an", "a", "of"))


def unit_length(tokens: Sequence[ClaimToken]) -> int:
    """The number of tokens after a number that are its unit; 0 unless an operator, relation or bracket follows them."""
    length = 0
    while length < _MAX_UNIT_WORDS:
        width = _width(tokens, length)
        if not width:
            break
        length += width + exponent_length(tokens, length + width)
    if not length or length >= len(tokens) or tokens[length - 1].text.casefold() in _INNER:
        return 0
    return length if tokens[length].kind in ("op", "rel", "close", "relword") else 0


def _width(tokens: Sequence[ClaimToken], at: int) -> int:
    """The number of tokens at a position that belong to a unit: a word, "/word", a short note in brackets; 0 for
    none."""
    token = tokens[at] if at < len(tokens) else None
    after = tokens[at + 1] if at + 1 < len(tokens) else None
    if token is None or token.text.casefold() == "percent":
        return 0
    if token.kind == "word":
        word = token.text.casefold()
        return int(word not in _NO_UNITS and (at > 0 or word not in _INNER))
    if token.text in _PER and at:
        return 1
    if token.kind == "name" and len(token.text) > 1 and not token.glued and not at:
        return int(token.text.isalpha() and token.text.isascii())
    if token.text == "/" and after is not None:
        return 2 * int(after.kind == "word" or (after.kind == "name" and at > 0))
    if token.kind == "open" and token.text == "(" and not token.glued and after is not None and after.kind == "word":
        return _note_width(tokens, at)
    return 0


def exponent_length(tokens: Sequence[ClaimToken], at: int) -> int:
    """The number of tokens at a position that are the exponent of the unit before it ("^2", "^{-1}", "²"); 0 for
    none."""
    if at < len(tokens) and tokens[at].kind == "super":
        return 1
    if at >= len(tokens) or tokens[at].text != "^":
        return 0
    texts = ["-" if t.text == "-" else t.kind for t in tokens[at + 1 : at + 5]]
    for exponent in (["num"], ["-", "num"], ["open", "num", "close"], ["open", "-", "num", "close"]):
        if texts[: len(exponent)] == exponent:
            return 1 + len(exponent)
    return 0


def _note_width(tokens: Sequence[ClaimToken], at: int) -> int:
    """The length of a note of words in brackets, including the brackets; 0 if it contains anything else."""
    for width, inner in enumerate(tokens[at + 2 : at + _MAX_UNIT_WORDS], start=3):
        if inner.kind == "close":
            return width
        if inner.kind != "word":
            return 0
    return 0
