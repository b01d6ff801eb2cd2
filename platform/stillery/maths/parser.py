"""Parses a whole text to an expression. Pure; nothing is ever evaluated as code.

A recursive-descent parser whose depth is bounded by that of the text's brackets. Unknown notation is rejected rather
than guessed; an ambiguous text (1/2x, sin 2π/3) has two `readings`.
"""

from fractions import Fraction

from stillery.maths.expressions import Apply, Expression, Name, Number
from stillery.maths.tokens import FUNCTIONS, NotMathsError, Token, tokenize

MAX_DEPTH = 40

_TIMES = {"*", "cdot", "times", "ast"}
_OVER = {"/", "div"}
_CLOSING = {"(": ")", "{": "}", "[": "]"}
_FLOORS = {"lfloor": ("rfloor", "floor"), "lceil": ("rceil", "ceil")}
# Letters that before a bracket are the name of a function: f(2) is its value and not a product.
_APPLIED = frozenset("fgh")


_END = Token("end", "", False)
_TEN = Number(Fraction(10))


class AmbiguousError(NotMathsError):
    """A factor without a sign follows a slash (1/2x), or a slash follows a function's argument (sin 2π/3)."""


def parse(text: str) -> Expression | None:
    """The expression that the whole of a normalised text denotes, or None."""
    found = readings(text)
    return found[0] if len(found) == 1 else None


def readings(text: str) -> tuple[Expression, ...]:
    """The possible readings of a whole normalised text: none, one expression or, of 1/2x, 1/(2x) and (1/2)x."""
    try:
        tokens = tokenize(text)
        try:
            return (_Parser(tokens).whole(),)
        except AmbiguousError:
            return _Parser(tokens, binds_tighter=True).whole(), _Parser(tokens, binds_tighter=False).whole()
    except (NotMathsError, RecursionError):
        return ()


def decimal(text: str) -> Fraction:
    """The value of a numeral: 12, 0.5, .5, 0.1\\overline{6}, 0.(3)."""
    for mark in (r"\overline", r"\bar", r"\dot", "("):
        head, found, period = text.partition(mark)
        if found:
            digits = period.strip(" {})")
            places = len(head.partition(".")[2])
            return Fraction("0" + head + "0") + Fraction(int(digits), (10 ** len(digits) - 1) * 10**places)
    return Fraction(text)


class _Parser:
    """`binds_tighter`: whether an implicit product binds tighter than a slash before it, and a slash tighter than a
    function; None if that must not matter."""

    def __init__(self, tokens: list[Token], *, binds_tighter: bool | None = None) -> None:
        self._tokens = [*tokens, _END]
        self._binds_tighter = binds_tighter
        self._at = 0
        self._depth = 0
        self._bars = 0

    def whole(self) -> Expression:
        value = self._sum()
        if self._peek() is not _END:
            raise NotMathsError
        return value

    def _peek(self, offset: int = 0) -> Token:
        return self._tokens[min(self._at + offset, len(self._tokens) - 1)]

    def _next(self) -> Token:
        token = self._peek()
        self._at += 1
        return token

    def _is(self, *texts: str) -> bool:
        return self._peek().kind in ("sign", "command") and self._peek().text in texts

    def _expect(self, text: str) -> None:
        token = self._next()
        if token.kind not in ("sign", "command") or token.text != text:
            raise NotMathsError

    def _sum(self) -> Expression:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise NotMathsError
        terms = [self._signed()]
        while self._is("+", "-"):
            minus = self._next().text == "-"
            term = self._signed() if self._is("-", "+") else self._product()
            terms.append(Apply("neg", (term,)) if minus else term)
        self._depth -= 1
        return terms[0] if len(terms) == 1 else Apply("+", tuple(terms))

    def _signed(self) -> Expression:
        if not self._is("-", "+"):
            return self._product()
        minus = self._next().text == "-"
        if self._is("-", "+"):
            raise NotMathsError
        term = self._product()
        return Apply("neg", (term,)) if minus else term

    def _product(self) -> Expression:
        """Factors with or without signs between them."""
        value = self._power()
        divided = False
        while True:
            if self._is(*_TIMES):
                self._next()
                value = _times(value, self._factor_with_sign())
            elif self._is(*_OVER):
                self._next()
                divisor, divided = self._factor_with_sign(), True
                while self._binds_tighter and self._starts_factor():
                    divisor = _times(divisor, self._power())
                value = Apply("/", (value, divisor))
            elif self._starts_factor():
                if divided and self._binds_tighter is None:
                    raise AmbiguousError
                value = _times(value, self._power())
            else:
                return value

    def _factor_with_sign(self) -> Expression:
        if self._is("-"):
            self._next()
            return Apply("neg", (self._power(),))
        return self._power()

    def _starts_factor(self) -> bool:
        """Whether a factor without a sign follows: never a number, for 2 3 is not a product."""
        token = self._peek()
        if token.kind == "name":
            return True
        if token.kind == "sign":
            return token.text in ("(", "{", "[") or (token.text == "|" and not self._bars)
        return token.kind == "command" and (
            token.text in ("frac", "sqrt", "pi", "binom", "infty", "abs", "floor", "ceil")
            or token.text in _FLOORS
            or token.text in FUNCTIONS
            or (token.text == "vert" and not self._bars)
        )

    def _power(self) -> Expression:
        return self._postfixed(self._primary())

    def _postfixed(self, value: Expression) -> Expression:
        while True:
            if self._is("!"):
                self._next()
                value = Apply("!", (value,))
            elif self._is("^"):
                self._next()
                if self._is("circ"):
                    self._next()
                    value = Apply("deg", (value,))
                    continue
                value = Apply("^", (value, self._exponent()))
                if self._is("^"):
                    raise NotMathsError
            else:
                return value

    def _exponent(self) -> Expression:
        if self._is("-"):
            self._next()
            return Apply("neg", (self._argument(),))
        return self._argument(long=True)

    def _argument(self, *, long: bool = False) -> Expression:
        """The argument of a command: a group, a letter, or one digit; of a longer number LaTeX takes the first digit
        alone, but in an exponent people mean the whole number."""
        token = self._peek()
        if self._is("{", "("):
            return self._group()
        if token.kind == "name":
            self._next()
            return Name(token.text)
        if token.kind == "number" and (long or (len(token.text) == 1 and token.text.isdigit())):
            self._next()
            return Number(decimal(token.text))
        if self._is("pi", "frac", "sqrt"):
            return self._primary()
        raise NotMathsError

    def _group(self) -> Expression:
        opening = self._next().text
        bars, self._bars = self._bars, 0
        value = self._sum()
        self._bars = bars
        self._expect(_CLOSING[opening])
        return value

    def _primary(self) -> Expression:
        token = self._peek()
        if token.kind == "number":
            self._next()
            return self._mixed(token)
        if token.kind == "name":
            self._next()
            return self._applied(token)
        if token.kind == "sign" and token.text in _CLOSING:
            return self._group()
        if self._is("|", "vert"):
            return self._absolute(token.text)
        if token.kind == "command":
            self._next()
            return self._command(token.text)
        raise NotMathsError

    def _absolute(self, bar: str) -> Expression:
        self._next()
        self._bars += 1
        value = self._sum()
        self._bars -= 1
        self._expect(bar)
        return Apply("abs", (value,))

    def _mixed(self, token: Token) -> Expression:
        """A number followed directly by a fraction of whole numbers, read as a mixed number."""
        value = decimal(token.text)
        if not self._is("frac"):
            return Number(value)
        self._next()
        top, bottom = self._fraction()
        whole = all(isinstance(side, Number) and side.value.denominator == 1 for side in (top, bottom))
        if not (whole and token.text.isdigit()) or self._is("^"):
            raise NotMathsError
        return Apply("+", (Number(value), Apply("/", (top, bottom))))

    def _fraction(self) -> tuple[Expression, Expression]:
        """Numerator and denominator; of `\\frac12` and `\\frac123` the first two digits."""
        token = self._peek()
        if token.kind == "number" and token.text.isdigit() and len(token.text) == 2:
            self._next()
            return Number(Fraction(token.text[0])), Number(Fraction(token.text[1]))
        return self._argument(), self._argument()

    def _applied(self, token: Token) -> Expression:
        name = token.text
        if name.rstrip("'")[:1] in _APPLIED and self._is("(") and not self._peek().spaced:
            self._next()
            args = [self._sum()]
            while self._is(","):
                self._next()
                args.append(self._sum())
            self._expect(")")
            return Apply(f"{name}()", tuple(args))
        return Name(token.text)

    def _command(self, command: str) -> Expression:
        if command == "frac":
            return Apply("/", self._fraction())
        if command == "binom":
            return Apply("binom", (self._argument(), self._argument()))
        if command == "sqrt":
            return self._root()
        if command in ("pi", "infty"):
            return Name(command)
        if command in _FLOORS:
            closing, head = _FLOORS[command]
            value = self._sum()
            self._expect(closing)
            return Apply(head, (value,))
        if command in ("floor", "ceil", "abs") and self._is("("):
            return Apply(command, (self._group(),))
        if command in FUNCTIONS:
            return self._function(command)
        raise NotMathsError

    def _root(self) -> Expression:
        degree: Expression = Number(Fraction(2))
        if self._is("["):
            self._next()
            degree = self._sum()
            self._expect("]")
        token = self._peek()
        if token.kind == "number":
            # √13 covers the whole number; \sqrt13, of which LaTeX takes one digit, means the same to people.
            self._next()
            return Apply("root", (Number(decimal(token.text)), degree))
        return Apply("root", (self._argument(), degree))

    def _function(self, name: str) -> Expression:
        """sin x, sin(x), sin^2 x, sin^{-1} x, log_2 x."""
        base: Expression | None = None
        power: Expression | None = None
        while self._is("^", "_"):
            if self._next().text == "_":
                base = self._argument(long=True)
            else:
                power = self._exponent()
        if base is not None and name != "log":
            raise NotMathsError
        if power == Apply("neg", (Number(Fraction(1)),)) and name in ("sin", "cos", "tan", "cot", "sec", "csc"):
            name, power = f"arc{name}", None
        argument = self._function_argument()
        value = Apply("log", (argument, base or _TEN)) if name in ("log", "lg") else Apply(name, (argument,))
        return value if power is None else Apply("^", (value, power))

    def _function_argument(self) -> Expression:
        """The argument of a function: the content of brackets, or the factors up to the next sign or function: sin 2x
        is sin(2x)."""
        if self._is("(", "{", "["):
            value = self._group()
            if self._is("^") and self._peek(1).text == "circ":
                value = self._postfixed(value)
            return value
        if self._is("-"):
            self._next()
            return Apply("neg", (self._power(),))
        if self._peek().kind == "command" and self._peek().text in FUNCTIONS:
            raise NotMathsError
        value = self._power()
        while self._starts_factor() and self._peek().text not in FUNCTIONS:
            if self._is("("):
                raise NotMathsError
            value = _times(value, self._power())
        if self._is(*_OVER) and self._peek(1).text not in FUNCTIONS and self._binds_tighter is None:
            raise AmbiguousError
        while self._is(*_OVER) and self._binds_tighter:
            self._next()
            value = Apply("/", (value, self._factor_with_sign()))
        return value


def _times(product: Expression, factor: Expression) -> Expression:
    """A flattened product: the depth of a tree is that of the text's brackets."""
    factors = product.args if isinstance(product, Apply) and product.head == "*" else (product,)
    return Apply("*", (*factors, factor))
