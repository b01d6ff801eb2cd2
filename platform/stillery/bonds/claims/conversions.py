"""Whether the numbers of an equation carry units that only a conversion would join: "1 hour + 30 minutes = 90 minutes".

Nothing is converted. Products make new units ("3 boxes * 4 apples"), so there only units of one dimension count.
"""

from collections.abc import Sequence

from stillery.bonds.claims.tokens import ClaimToken

_DIMENSIONS = {
    word: dimension
    for dimension, words in {
        "time": "second sec minute min hour hr day week fortnight month year decade century quarter",
        "length": "mm millimeter millimetre cm centimeter centimetre dm m meter metre km kilometer kilometre inch ft "
        "foot feet yard mile mi nm",
        "mass": "mg milligram g gram kg kilogram ton tonne ounce oz pound lb stone",
        "volume": "ml milliliter millilitre cl l liter litre gallon quart pint cup ounce tablespoon teaspoon",
        "money": "dollar cent penny penni pennie nickel dime quarter buck euro pound usd",
        "angle": "degree radian",
        "energy": "ev kev mev gev tev joule kj kilojoule cal calorie kcal kilocalorie",
        "power": "watt kw kilowatt megawatt",
        "frequency": "hz khz mhz ghz hertz",
        "data": "bit byte kb mb gb tb",
    }.items()
    for word in words.split()
}  # fmt: skip
_SCALES = frozenset("hundred thousand million billion trillion dozen k".split())
# Words that are no unit by themselves ("= 12 in total").
_NO_UNITS = frozenset(
    "total altogether all more left remaining extra per each every in of the a an and for to from with on at so now "
    "then that which who this but or as if by is was are were be she he it they we i you because since when where "
    "after before not also only just right correct indeed away out up down over under about overall combined "
    "together".split()
)
_MAX_UNIT_WORDS = 6


def needs_conversion(tokens: Sequence[ClaimToken], first: int, relation: int, end: int, *, is_equal: bool) -> bool:
    """Whether the two sides of an equation, tokens `first` to `end` around `relation`, cannot be compared as numbers.

    `is_equal` says whether their numbers are equal; they are not compared only by accident if a product is involved
    ("120 minutes / 60 = 2 hours") or if no unit converts ("3 cats + 4 dogs = 7 animals").
    """
    left = _terms(tokens[first:relation])
    terms = left + _terms(tokens[relation + 1 : _end_of_unit(tokens, end)])
    has_product = any(term.is_product for term in terms)
    scaled = [not _SCALES.isdisjoint(term.words()) for term in left]
    if any(scaled):
        return not is_equal or not (has_product or all(scaled))
    units = [term.groups[0] for term in terms if len(term.groups) == 1]
    if not units or all(unit & units[0] for unit in units):
        return False
    if is_equal or has_product:
        return not (is_equal and has_product) and _has_one_dimension(units)
    return True


class _Term:
    """A term of a sum: the words behind each of its numbers, and whether it is a product."""

    def __init__(self) -> None:
        self.groups: list[frozenset[str]] = []
        self.is_product = False

    def words(self) -> frozenset[str]:
        return frozenset[str]().union(*self.groups)


def _terms(side: Sequence[ClaimToken]) -> list[_Term]:
    terms = [_Term()]
    unit: set[str] = set()
    for i, token in enumerate(side):
        is_per = token.text == "/" and i + 1 < len(side) and side[i + 1].kind == "word"
        if token.kind == "word" or (token.kind == "name" and len(token.text) > 1 and not token.glued):
            word = _singular(token.text.casefold())
            unit |= {word} - _NO_UNITS
        elif token.kind == "money":
            unit.add("dollar")
        elif token.kind == "op" and not is_per:
            _close(terms[-1], unit)
            if token.text in ("+", "-"):
                terms.append(_Term())
            else:
                terms[-1].is_product = True
        elif token.kind == "frac" or token.text == "%":
            terms[-1].is_product = True
    _close(terms[-1], unit)
    return terms


def _close(term: _Term, unit: set[str]) -> None:
    if unit:
        term.groups.append(frozenset(("dollar",) if "dollar" in unit else unit))
        unit.clear()


def _has_one_dimension(units: Sequence[frozenset[str]]) -> bool:
    """Whether two of the units measure the same, so that one converts to the other."""
    known = [{_DIMENSIONS[word] for word in unit if word in _DIMENSIONS} for unit in units]
    return any(known[0] & other and not units[0] & unit for other, unit in zip(known[1:], units[1:], strict=True))


def _end_of_unit(tokens: Sequence[ClaimToken], end: int) -> int:
    """The token after the words that follow a side."""
    last = min(len(tokens), end + _MAX_UNIT_WORDS)
    at = end
    while at < last and tokens[at].kind in ("word", "money") and tokens[at].text.casefold() not in _NO_UNITS:
        at += 1
    return at


def _singular(word: str) -> str:
    if word.endswith(("ches", "shes", "xes")):
        return word[:-2]
    return word[:-1] if word.endswith("s") and len(word) > 2 else word
