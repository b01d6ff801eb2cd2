"""Two cleaned answers -> whether they are equal as rational functions of letters, π and square roots. Pure, exact.

What `quotients` can hold is decided here. Anything beyond that (other functions, other roots, names of more letters) is
not.
"""

import re
from fractions import Fraction

from stillery.verify.quotients import ONE, Budget, NotSimpleError, Quotient, as_rational, bounded, constant, root_of

# Past any of these a pair is left to computer algebra, which has a deadline.
MAX_CHARS = 300
MAX_EXPONENT = 64

_TOKEN = re.compile(r"\s*(\d+(?:\.\d+)?|\\?[A-Za-z]+|[-+*/^(){}])", re.ASCII)
_SHORT_FRACTION = re.compile(r"\\frac\s*(\d)\s*(\d)", re.ASCII)
# Letters that are more than a name somewhere in mathematics: e, i, the d of dx; z and w are taken for complex.
_LETTERS = frozenset("abcfghjklmnopqrstuvxyABCDFGHJKLMPQRTUVWXYZ")
_NAMES = {"\\pi": "π", "pi": "π", "\\theta": "θ", "\\alpha": "α", "\\beta": "β"}
_TIMES = {"*", "\\cdot", "\\times"}
_CLOSING = {"(": ")", "{": "}"}

# Which tokens of 1\frac{1}{4} are whole numbers.
_MIXED_NUMBER = [True, False, False, True, False, False, True, False]


def equal(predicted: str, gold: str) -> bool | None:
    """Whether two expressions are equal; None where either is not one that this module decides."""
    first, second = parse(predicted), parse(gold)
    if first is None or second is None:
        return None
    budget = Budget()
    try:
        return budget.multiply(first.top, second.bottom) == budget.multiply(second.top, first.bottom)
    except NotSimpleError:
        return None


def parse(text: str) -> Quotient | None:
    """The rational function that the whole of a text denotes, or None."""
    if len(text) > MAX_CHARS:
        return None
    try:
        return _Parser(_tokens(_SHORT_FRACTION.sub(r"\\frac{\1}{\2}", text))).whole()
    except (NotSimpleError, RecursionError):
        return None


def _tokens(text: str) -> list[str]:
    tokens: list[str] = []
    position = 0
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            raise NotSimpleError
        tokens += _split_letters(match[1])
        position = match.end()
    return tokens


def _split_letters(token: str) -> list[str]:
    """`xy` is x times y; a longer word is a name."""
    if len(token) == 2 and token.isalpha() and token not in _NAMES:
        return list(token)
    return [token]


class _Parser:
    """Recursive descent over the tokens of one text; its depth is bounded by that of the text's brackets."""

    def __init__(self, tokens: list[str]) -> None:
        self._tokens = [*tokens, ""]
        self._at = 0
        self._budget = Budget()

    def whole(self) -> Quotient:
        value = self._sum()
        if self._peek():
            raise NotSimpleError
        return value

    def _peek(self) -> str:
        return self._tokens[self._at]

    def _next(self) -> str:
        token = self._peek()
        self._at += 1
        return token

    def _sum(self) -> Quotient:
        sign = -1 if self._peek() == "-" else 1
        if self._peek() in ("-", "+"):
            self._next()
        total = self._budget.times(constant(Fraction(sign)), self._product())
        while self._peek() in ("-", "+"):
            sign = -1 if self._next() == "-" else 1
            total = self._budget.add(total, self._budget.times(constant(Fraction(sign)), self._product()))
        return total

    def _product(self) -> Quotient:
        """Factors with signs between them or none. After a slash none may be left out: 1/2x is ambiguous."""
        total = self._power()
        divided = False
        while token := self._peek():
            if token == "/":
                self._next()
                total, divided = self._budget.over(total, self._power()), True
            elif token in _TIMES:
                self._next()
                total = self._budget.times(total, self._power())
            elif _starts_factor(token) and not divided:
                total = self._budget.times(total, self._power())
            else:
                break
        return total

    def _power(self) -> Quotient:
        base = self._factor()
        if self._peek() != "^":
            return base
        self._next()
        exponent = self._argument() if self._peek() == "{" else self._digit()
        if self._peek() == "^":
            raise NotSimpleError
        value = as_rational(exponent)
        if value is None or value.denominator != 1 or abs(value) > MAX_EXPONENT:
            raise NotSimpleError
        return self._budget.power(base, int(value))

    def _factor(self) -> Quotient:
        token = self._next()
        if token[:1].isdigit():
            return constant(bounded(Fraction(token) + self._fraction_of_mixed_number()))
        if token in _CLOSING:
            return self._group(token)
        if token == "\\frac":
            return self._budget.over(self._argument(), self._argument())
        if token in ("\\sqrt", "sqrt"):
            return root_of(self._argument())
        name = _NAMES.get(token, token)
        # f(x) is a function's value to some, a product to others.
        if (token in _NAMES or token in _LETTERS) and not (name.isascii() and self._peek() == "("):
            return Quotient({(1, ((name, 1),)): Fraction(1)}, {ONE: Fraction(1)})
        raise NotSimpleError

    def _fraction_of_mixed_number(self) -> Fraction:
        """The fraction that stands right after a number, read: 1\\frac{1}{4} is 5/4. Only of whole numbers, and
        with no factor after it."""
        if self._peek() != "\\frac":
            return Fraction(0)
        self._next()
        top, bottom = as_rational(self._argument()), as_rational(self._argument())
        read = self._tokens[self._at - 8 : self._at]
        is_alone = not _starts_factor(self._peek()) and self._peek() != "^"
        if not top or not bottom or not is_alone or [*map(str.isdigit, read)] != _MIXED_NUMBER:
            raise NotSimpleError
        return top / bottom

    def _argument(self) -> Quotient:
        """What a command takes: a group, or one digit."""
        token = self._peek()
        if token in _CLOSING:
            self._next()
            return self._group(token)
        return self._digit()

    def _digit(self) -> Quotient:
        """A number of one digit. Of a longer one LaTeX takes the first digit alone."""
        token = self._next()
        if len(token) != 1 or not token.isdigit():
            raise NotSimpleError
        return constant(Fraction(token))

    def _group(self, opening: str) -> Quotient:
        value = self._sum()
        if self._next() != _CLOSING[opening]:
            raise NotSimpleError
        return value


def _starts_factor(token: str) -> bool:
    return token in ("(", "{", "\\frac", "\\sqrt", "sqrt") or token in _NAMES or token in _LETTERS
