"""Quantities: an exact number with its percent sign and unit, where the whole text is one.

Pure. Values are fractions: nothing is rounded, so 0.5 is 1/2 and 0.33 is not 1/3.
"""

import re
from dataclasses import dataclass
from fractions import Fraction

from stillery.maths.notation import THIN
from stillery.maths.parser import decimal
from stillery.maths.units import UNKNOWN, same_unit, unit_of

# A number past these limits is left to the worker processes: exact arithmetic on it is not cheap.
MAX_DIGITS = 400
MAX_EXPONENT = 1000

_INTEGER = r"(?:\d{1,3}(?:[ ,']\d{3})+(?!\d)|\d{1,3}(?:_\d{3})+(?!\d)|\d+)"
_DECIMAL = rf"(?:{_INTEGER}(?:\.\d*)?|\.\d+)"
_POWER = r"(?:[eE]\+?(?P<e>-?\d{1,4})|\s*(?:\\times|\\cdot|\*|x)\s*10\s*\^\s*\{?\s*(?P<ten>-?\d{1,4})\s*\}?)"
_FRACTION = (
    rf"(?:\\frac\s*\{{\s*(?P<n>-?{_DECIMAL})\s*\}}\s*\{{\s*(?P<d>-?{_DECIMAL})\s*\}}"
    r"|\\frac\s*(?P<n1>\d)\s*(?P<d1>\d)|\\frac\s*\{\s*(?P<n2>\d+)\s*\}\s*(?P<d2>\d)"
    rf"|(?P<n3>{_DECIMAL})\s*/\s*(?P<d3>{_DECIMAL}))"
)
_NUMBER = re.compile(
    rf"(?P<sign>[-+]?)\s*(?P<currency>(?:US)?\$|[€£¥₹]|(?:USD|EUR|GBP|Rs\.?)(?=[\s\d])|)\s*(?P<sign2>-?)\s*"
    rf"(?:(?P<repeating>\d*\.\d*(?:\\(?:overline|bar|dot)\s*\{{\d+\}}|\\dot\s*\d|\(\d+\)))"
    r"|(?P<going_on>\d*\.\d{3,})\s*(?:\.\.\.|\\ldots)"
    rf"|(?P<whole>\d+(?=\s*\\frac|\s+\d+\s*/))?\s*{_FRACTION}"
    rf"|(?P<decimal>{_DECIMAL}){_POWER}?)"
    r"(?P<rest>.*)",
    re.ASCII,
)
_BASES = {"two": 2, "binary": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8, "nine": 9,
          "ten": 10, "eleven": 11, "twelve": 12, "sixteen": 16}  # fmt: skip
_BASED = re.compile(
    r"\(?(?P<digits>[0-9][0-9A-Za-z]{0,199}(?:\.[0-9A-Za-z]+)?)\)?\s*"
    r"(?:_\s*\{?\s*\(?(?:base\s*)?(?P<low>\d{1,2}|[a-z]{3,7})\)?\s*\}?"
    r"|\(?\s*(?:in\s+)?base[ -]?(?P<words>\d{1,2}|[a-z]{3,7})\s*\)?)",
    re.ASCII,
)
_CURRENCY_OF = {"US$": "$", "USD": "$", "EUR": "€", "GBP": "£", "Rs": "₹"}
# The period of a decimal that continues: one or two digits three times, more of them twice.
_PERIOD = re.compile(r"(?:(\d{1,2})\1\1|(\d{3,9})\2)\Z", re.ASCII)
_PERCENT = re.compile(r"\s*(?:\\?%|per ?cent(?:age)?\b|pct\b)", re.IGNORECASE)
_SCALES = {
    "hundred": Fraction(10**2), "thousand": Fraction(10**3), "million": Fraction(10**6), "billion": Fraction(10**9),
    "trillion": Fraction(10**12), "lakh": Fraction(10**5), "crore": Fraction(10**7), "per mille": Fraction(1, 1000),
}  # fmt: skip
# Only in the plural: "5 tenths" is a half, "5 tenth graders" are five.
_PARTS = {"thirds": 3, "fifths": 5, "sixths": 6, "sevenths": 7, "eighths": 8, "ninths": 9, "tenths": 10,
          "hundredths": 100, "thousandths": 1000}  # fmt: skip
SCALE_WORDS = rf"(?:(?:{'|'.join(_SCALES)})s?|{'|'.join(_PARTS)})\b"
_SCALE = re.compile(rf"\s*({SCALE_WORDS})", re.IGNORECASE)
# The units of a number that a percentage may be the same answer as.
_NO_UNIT = (None, UNKNOWN)


@dataclass(frozen=True, slots=True)
class Quantity:
    """An exact number. With a percent sign, `value` is the number before it. `unit` is None if there is none, and "?"
    if it is unknown."""

    value: Fraction
    is_percent: bool
    unit: str | None


@dataclass(frozen=True, slots=True)
class Numeral:
    """Digits in an explicit base; in base ten they are a Quantity."""

    digits: str
    base: int


def parse_numeral(text: str) -> Numeral | None:
    """The digits and base of 12_5, (1A)_{16}, 12 (base 5) or 101_{two}; None for anything else."""
    match = _BASED.fullmatch(text) if "_" in text or "base" in text else None
    if match is None:
        return None
    written = match["low"] or match["words"]
    base = int(written) if written.isdigit() else _BASES.get(written.lower(), 0)
    digits = match["digits"].upper().lstrip("0") or "0"
    if not 2 <= base <= 36 or any(int(digit, 36) >= base for digit in digits if digit != "."):
        return None
    return Numeral(digits, base)


def group_thousands(text: str) -> str:
    """A text with the thin spaces after commas, which may separate thousands, read as separators."""
    return text.replace("," + THIN, ",")


def parse_quantity(text: str) -> Quantity | None:
    """The number that a normalised text denotes, or None if the text as a whole is not one plain number."""
    if (based := parse_numeral(text)) is not None:
        return Quantity(Fraction(based.digits), False, None) if based.base == 10 else None
    match = _NUMBER.fullmatch(text)
    if match is None or sum(map(str.isdigit, text)) > MAX_DIGITS:
        return None
    value = _value(match)
    if value is None:
        return None
    rest = match["rest"]
    if scale := _SCALE.match(rest):
        value, rest = value * _factor(scale[1].lower()), rest[scale.end() :]
    percent = _PERCENT.match(rest)
    rest = rest[percent.end() :] if percent else rest
    currency = match["currency"]
    unit = _CURRENCY_OF.get(currency.rstrip("."), currency) or None
    if rest.strip():
        written = unit_of(rest)
        if written is None:
            return None
        unit = written if unit is None else unit
    negative = (match["sign"] == "-") != (match["sign2"] == "-")
    return Quantity(-value if negative else value, percent is not None, unit)


def same_quantity(predicted: Quantity, gold: Quantity) -> bool:
    """Whether two numbers are the same answer: equal values, and no two known units that differ, percent among them.

    A percent sign on one side only may be read either way: 10% is 10 (the question asked for a percentage) and
    10% is 0.1 (the value).
    """
    if not same_unit(predicted.unit, gold.unit):
        return False
    if predicted.is_percent != gold.is_percent and (gold if predicted.is_percent else predicted).unit not in _NO_UNIT:
        return False
    if predicted.value == gold.value:
        return True
    if predicted.is_percent == gold.is_percent:
        return False
    return predicted.value / (100 if predicted.is_percent else 1) == gold.value / (100 if gold.is_percent else 1)


def _value(match: re.Match[str]) -> Fraction | None:
    if match["repeating"]:
        return decimal(match["repeating"])
    if match["going_on"]:
        return _repeating(match["going_on"])
    if match["decimal"]:
        exponent = int(match["e"] or match["ten"] or 0)
        return _decimal(match["decimal"]) * Fraction(10) ** exponent if abs(exponent) <= MAX_EXPONENT else None
    top = next(match[g] for g in ("n", "n1", "n2", "n3") if match[g])
    bottom = _decimal(next(match[g] for g in ("d", "d1", "d2", "d3") if match[g]))
    if bottom == 0:
        return None
    return int(match["whole"] or 0) + _decimal(top) / bottom


def _factor(word: str) -> Fraction:
    return Fraction(1, _PARTS[word]) if word in _PARTS else _SCALES[word.removesuffix("s")]


def _repeating(text: str) -> Fraction | None:
    """0.333 of "0.333...", whose last digits visibly repeat."""
    period = min(_PERIOD.finditer(text), key=lambda match: len(match.group()), default=None)
    return None if period is None else decimal(f"{text}({period[1] or period[2]})")


def _decimal(text: str) -> Fraction:
    return Fraction(re.sub("[ ,'_]", "", text))
