"""Normalised mathematics -> tokens. Pure, one pass of one regular expression without nested repetition.

A token is a number ("3.5", "1,234" without its commas, a repeating decimal), a name (one letter, a Greek letter, each
with its subscript and primes), a command (`\\frac`), or a sign. Words of plain text that name a function or a constant
("sqrt", "pi") are the command of that name; other words of more than two letters are not mathematics.
"""

import re
from dataclasses import dataclass

GREEK = frozenset(
    "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi rho sigma tau upsilon phi chi psi omega "
    "Gamma Delta Theta Lambda Xi Pi Sigma Upsilon Phi Psi Omega ell".split()
)
_TRIGONOMETRY = ("sin", "cos", "tan", "cot", "sec", "csc")
FUNCTIONS = frozenset(
    (*_TRIGONOMETRY, *(f"arc{name}" for name in _TRIGONOMETRY), "sinh", "cosh", "tanh", "ln", "log", "lg", "exp", "cis")
)
_ALIASES = {**{f"a{name}": f"arc{name}" for name in _TRIGONOMETRY}, "infinity": "infty", "cosec": "csc"}
_WORDS = FUNCTIONS | {"sqrt", "pi", "infty", "theta", "alpha", "beta", "gamma", "floor", "ceil", "abs"}

_SUBSCRIPT = r"_(?:\{[^{}]{1,20}\}|\d+|\\[A-Za-z]+|[A-Za-z])"
_TOKEN = re.compile(
    rf"\s*(?:(?P<repeating>\d*\.\d*(?:\\(?:overline|bar|dot)\s*\{{\d+\}}|\\dot\s*\d|\(\d+\)))"
    rf"|(?P<number>(?:\d{{1,3}}(?:[,']\d{{3}})++(?!\d)|\d++)(?:\.\d++)?|\.\d++)(?P<base>{_SUBSCRIPT})?"
    rf"|(?P<name>(?:[A-Za-z]|\\(?:{'|'.join(sorted(GREEK, key=len, reverse=True))})(?![A-Za-z])))"
    rf"(?P<marks>\s?{_SUBSCRIPT}|(?=['_]))(?P<primes>'{{0,4}})"
    rf"|(?P<command>\\(?:[A-Za-z]+|[{{}}|])(?P<star>\*?))|(?P<word>[A-Za-z]+)|(?P<sign>[-+*/^(){{}}\[\]|!%_,:]))",
    re.ASCII,
)
# 2e-3 is a power of ten to some, a difference to others.
_EXPONENT = re.compile(r"[eE][-+]?\d")
_MAX_TOKENS = 600
_MAX_DIGITS = 1000


class NotMathsError(Exception):
    """The text is not an expression of the supported kind."""


@dataclass(frozen=True, slots=True)
class Token:
    """`kind` is number, name, command or sign; `spaced` says that white space precedes it."""

    kind: str
    text: str
    spaced: bool


def tokenize(text: str) -> list[Token]:
    """The tokens of a whole text. Raises NotMathsError if any part of it has none."""
    tokens: list[Token] = []
    position = 0
    text = text.rstrip()
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None or len(tokens) > _MAX_TOKENS or match.end() - position > _MAX_DIGITS:
            raise NotMathsError
        tokens += _read(match, spaced=text[position].isspace())
        position = match.end()
    return tokens


def _read(match: re.Match[str], *, spaced: bool) -> list[Token]:
    if match["repeating"]:
        return [Token("number", match["repeating"], spaced)]
    if match["number"]:
        digits = match["number"].replace(",", "").replace("'", "")
        if _EXPONENT.match(match.string, match.end("number")):
            raise NotMathsError
        # A number with a subscript is written in a base: it is treated as a name, not computed with.
        marks = re.sub(r"[{}\s]", "", match["base"] or "")
        return [Token("name" if marks else "number", digits + marks, spaced)]
    if match["name"]:
        marks = re.sub(r"[{}\s]", "", match["marks"])
        return [Token("name", match["name"].lstrip("\\") + marks + match["primes"], spaced)]
    if match["command"]:
        command = match["command"].lstrip("\\")
        return [Token("name" if command in GREEK else "command", command, spaced)]
    if match["word"]:
        return _read_word(match["word"], spaced=spaced)
    return [Token("sign", match["sign"], spaced)]


def _read_word(word: str, *, spaced: bool) -> list[Token]:
    """A function's name, or the letters of a product: `xy` is x times y."""
    name = _ALIASES.get(word, word)
    if name in _WORDS:
        return [Token("name" if name in GREEK else "command", name, spaced)]
    if len(word) > 3 or (len(word) == 3 and not word.isupper()):
        raise NotMathsError
    return [Token("name", letter, spaced and i == 0) for i, letter in enumerate(word)]
