"""Quantities: an exact number with its percent sign and unit, where the whole text is one.

Pure. Values are fractions: nothing is rounded, so 0.5 is 1/2 and 0.33 is not 1/3.
"""

import re
from dataclasses import dataclass
from fractions import Fraction

from stillery.maths.notation import THIN
from stillery.maths.parser import decimal

# Past these a number is left to the worker processes: exact arithmetic on it is not cheap.
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
    rf"(?P<sign>[-+]?)\s*(?P<currency>[$€£¥₹]?)\s*(?P<sign2>-?)\s*"
    rf"(?:(?P<repeating>\d*\.\d*(?:\\(?:overline|bar|dot)\s*\{{\d+\}}|\\dot\s*\d|\(\d+\)))"
    r"|(?P<going_on>\d*\.\d*?(?P<again>\d)(?P=again){2,})\s*(?:\.\.\.|\\ldots)"
    rf"|(?P<whole>\d+(?=\s*\\frac|\s+\d+\s*/))?\s*{_FRACTION}"
    rf"|(?P<decimal>{_DECIMAL}){_POWER}?)"
    r"(?P<rest>.*)",
    re.ASCII,
)
_BASES = {"two": 2, "binary": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8, "nine": 9,
          "ten": 10, "eleven": 11, "twelve": 12, "sixteen": 16}  # fmt: skip
_BASED = re.compile(
    r"\(?(?P<digits>[0-9][0-9A-Za-z]{0,199}(?:\.[0-9A-Za-z]+)?)\)?\s*"
    r"(?:_\s*\{?\s*(?:base\s*)?(?P<low>\d{1,2}|[a-z]{3,7})\s*\}?"
    r"|\(?\s*(?:in\s+)?base[ -]?(?P<words>\d{1,2}|[a-z]{3,7})\s*\)?)",
    re.ASCII,
)
_PERCENT = re.compile(r"\s*(?:\\?%|per ?cent(?:age)?\b|pct\b)", re.IGNORECASE)
_SCALES = {"hundred": 2, "thousand": 3, "million": 6, "billion": 9, "trillion": 12}
_SCALE = re.compile(r"\s*(" + "|".join(_SCALES) + r")\b", re.IGNORECASE)
_UNIT = re.compile(r"\s*[A-Za-zµ$€£¥₹][A-Za-zµ0-9/^{}.$ -]*|\s*\^\s*\\circ\s*[CF]?")
_TRAILING_UNIT = re.compile(r"(?<=[\d})\]a-zA-Z])\s+[A-Za-z][A-Za-z0-9/^{} .]*$")
_NOT_UNITS = {"or", "and", "to", "not", "sin", "cos", "tan", "log", "exp", "sqrt", "mod", "but", "if", "plus", "minus",
              "times", "over", "squared", "cubed"}  # fmt: skip

# Names of one unit, by its first; two known units that differ make two different answers.
_UNITS = (
    "m meter metre", "cm centimeter centimetre", "mm millimeter millimetre", "km kilometer kilometre", "inch inche in",
    "ft foot feet", "yd yard", "mi mile", "g gram", "kg kilogram", "mg milligram", "lb pound", "oz ounce",
    "s sec second", "min minute", "h hr hour", "day", "week", "month", "yr year", "l L liter litre", "ml mL milliliter",
    "$ dollar usd buck", "cent", "€ euro eur", "£ gbp", "degree ^\\circ deg", "radian rad",
)  # fmt: skip
_UNIT_OF = {name: names.split()[0] for names in _UNITS for name in names.split()}


@dataclass(frozen=True, slots=True)
class Quantity:
    """An exact number. With a percent sign, `value` is the number before it. `unit` is None where none is written,
    and "?" where it is not one that we know."""

    value: Fraction
    is_percent: bool
    unit: str | None


@dataclass(frozen=True, slots=True)
class Numeral:
    """Digits in a base that is written beside them; in base ten they are a Quantity."""

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
    """A text with the thin spaces after commas, which may stand between thousands, read as such."""
    return text.replace("," + THIN, ",")


def parse_quantity(text: str) -> Quantity | None:
    """The number that a normalised text is, or None if the text as a whole is not one plain number."""
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
        value, rest = value * 10 ** _SCALES[scale[1].lower()], rest[scale.end() :]
    percent = _PERCENT.match(rest)
    rest = rest[percent.end() :] if percent else rest
    unit = match["currency"] or None
    if rest.strip():
        written = _unit_of(rest)
        if written is None:
            return None
        unit = written if unit is None else unit
    negative = (match["sign"] == "-") != (match["sign2"] == "-")
    return Quantity(-value if negative else value, percent is not None, unit)


def same_quantity(predicted: Quantity, gold: Quantity) -> bool:
    """Whether two numbers are the same answer: equal values, and no two known units that differ.

    A percent sign on one side only may be read either way: 10% is 10 (the question asked for a percentage) and
    10% is 0.1 (the value).
    """
    units = {predicted.unit, gold.unit} - {None, "?"}
    if len(units) > 1:
        return False
    if predicted.value == gold.value:
        return True
    if predicted.is_percent == gold.is_percent:
        return False
    return predicted.value / (100 if predicted.is_percent else 1) == gold.value / (100 if gold.is_percent else 1)


def strip_unit(text: str) -> str:
    """An expression without the unit after it: `9\\pi square inches` is `9\\pi`. Words alone stay."""
    for match in _TRAILING_UNIT.finditer(text):
        head = text[: match.start()]
        if re.search(r"\d|\\[a-zA-Z]", head) and not re.search(r"[A-Za-z]{4,}$", head) and _unit_of(match.group()):
            return head
    return text


def _value(match: re.Match[str]) -> Fraction | None:
    if match["repeating"]:
        return decimal(match["repeating"])
    if match["going_on"]:
        return decimal(f"{match['going_on'][:-1]}({match['again']})")
    if match["decimal"]:
        exponent = int(match["e"] or match["ten"] or 0)
        return _decimal(match["decimal"]) * Fraction(10) ** exponent if abs(exponent) <= MAX_EXPONENT else None
    top = next(match[g] for g in ("n", "n1", "n2", "n3") if match[g])
    bottom = _decimal(next(match[g] for g in ("d", "d1", "d2", "d3") if match[g]))
    if bottom == 0:
        return None
    return int(match["whole"] or 0) + _decimal(top) / bottom


def _decimal(text: str) -> Fraction:
    return Fraction(re.sub("[ ,'_]", "", text))


def _unit_of(rest: str) -> str | None:
    """The unit that follows a number: its canonical name, "?" for words that we do not know, None if not a unit.

    One or two letters are a unit only if known and set apart: `4t` and `2 x` are products.
    """
    match = _UNIT.fullmatch(rest)
    if match is None or re.search(r"(?<![A-Za-z^{])\d", rest):
        return None
    words = re.findall(r"\^\\circ|[$€£¥₹]|[A-Za-zµ]+", rest)
    if not words or len(words) > 6 or _NOT_UNITS & {word.lower() for word in words}:
        return None
    known = [_UNIT_OF.get(w) or _UNIT_OF.get(w.lower()) or _UNIT_OF.get(w.lower().removesuffix("s")) for w in words]
    attached = not rest[0].isspace() and words[0] not in ("^\\circ", "$", "€", "£", "¥", "₹")
    if any(
        k is None and len(w) < 3 and w not in ("a", "an", "of", "in", "C", "F")
        for k, w in zip(known, words, strict=True)
    ):
        return None
    if attached and len(words[0]) < 2:
        return None
    return known[0] if len(words) == 1 and known[0] is not None and not re.search(r"[/^](?!\\circ)", rest) else "?"
