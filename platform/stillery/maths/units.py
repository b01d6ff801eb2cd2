"""Units: from the words after a number to a canonical name of each unit, with its powers. Pure; no unit is
converted."""

import re

from stillery.maths.tokens import FUNCTIONS

UNKNOWN = "?"
CURRENCIES = "$€£¥₹"

_WORD = r"[^\W\d_]"
_UNIT = re.compile(rf"\s*(?:{_WORD}|[{CURRENCIES}])(?:{_WORD}|[0-9/^{{}}.{CURRENCIES} -])*|\s*\^\s*\\circ\s*[CFK]?")
_TRAILING_UNIT = re.compile(r"(?<=[\d})\]a-zA-Z])\s+[A-Za-z][A-Za-z0-9/^{} .]*$")
_EXPONENTS = {"squared", "cubed"}
_NOT_UNITS = {"or", "and", "to", "not", "sqrt", "mod", "but", "if", "plus", "minus", "times",
              "over", "negative", "below", "less", "factorial", "doubled", "halved", "tripled", "dozen"
              } | _EXPONENTS | FUNCTIONS  # fmt: skip
# "12 or more", "2 or 3" in other languages.
_BOUND_ABROAD = re.compile(r"以上|以下|以内|或|多于|少于|이상|이하|или|более|и\b")
_ORDINAL = re.compile(r"(?:st|nd|rd|th)(?![A-Za-z])")
# "5 times", "5 times as many": without an object, so nothing is multiplied.
_TIMES = re.compile(r"\s+times(?:\s+as\b[A-Za-z ]*|)")

# Names of one unit, by its first; two different known units make two different answers.
_NAMES = (
    "m meter metre", "cm centimeter centimetre", "mm millimeter millimetre", "km kilometer kilometre", "inch inche in",
    "ft foot feet", "yd yard", "mi mile", "g gram", "kg kilogram", "mg milligram", "lb pound", "oz ounce",
    "s sec second", "min minute", "h hr hour", "day", "week", "month", "yr year", "l L liter litre", "ml mL milliliter",
    "$ dollar usd buck", "cent", "€ euro eur", "£ gbp", "degree ^\\circ deg", "radian rad",
)  # fmt: skip
_NAME_OF = {name: names.split()[0] for names in _NAMES for name in names.split()}
_WHOLE = {"mph": "mi/h", "kph": "km/h", "kmh": "km/h", "mps": "m/s", "fps": "ft/s",
          "c": "degree C", "f": "degree F", "celsius": "degree C", "fahrenheit": "degree F"}  # fmt: skip
_POWERS = (
    (re.compile(r"\b(?:square|sq\.?)\s+([A-Za-z]+)"), r"\1^2"),
    (re.compile(r"\b(?:cubic|cu\.?)\s+([A-Za-z]+)"), r"\1^3"),
    (re.compile(r"([A-Za-z])\s+squared\b"), r"\1^2"),
    (re.compile(r"([A-Za-z])\s+cubed\b"), r"\1^3"),
    (re.compile(r"\s+per\s+"), "/"),
    (re.compile(r"[{}\s.]"), ""),
)
_POWER = re.compile(r"([A-Za-z]+)(?:\^(-?[1-4]))?")


def unit_of(rest: str) -> str | None:
    """The unit that follows a number: its canonical name, "?" for unknown words, None if not a unit.

    One or two letters are a unit only if known and separated: `4t` and `2 x` are products.
    """
    if _ORDINAL.match(rest) or _TIMES.fullmatch(rest):
        return UNKNOWN
    match = _UNIT.fullmatch(rest)
    if not rest.isascii() and _BOUND_ABROAD.search(rest):
        return None
    if match is None or re.search(r"(?<![A-Za-z^{-])\d", rest):
        return None
    words = re.findall(rf"\^\s*\\circ|[{CURRENCIES}]|{_WORD}+", rest)
    lowered = [word.lower() for word in words]
    if not words or len(words) > 6 or _NOT_UNITS & {*lowered[:1]} or (_NOT_UNITS - _EXPONENTS) & {*lowered}:
        return None
    words[0] = re.sub(r"\s", "", words[0])
    known = [_known(word) for word in words]
    if any(
        k is None and word.isascii() and len(word) < 3 and word not in ("a", "an", "of", "in", "C", "F", "sq", "cu")
        for k, word in zip(known, words, strict=True)
    ):
        return None
    attached = not rest[0].isspace() and words[0].isascii() and words[0] not in ("^\\circ", *CURRENCIES)
    if attached and len(words[0]) < 2:
        return None
    return _canonical(rest, words, known)


def same_unit(first: str | None, second: str | None) -> bool:
    """Whether two units are compatible in one answer: they are the same, or one is unknown, or less specific."""
    if first is None or second is None or UNKNOWN in (first, second) or first == second:
        return True
    return "degree" in (first, second) and first.startswith("degree") and second.startswith("degree")


def strip_unit(text: str) -> str:
    """An expression without the unit after it: `9\\pi square inches` is `9\\pi`. Words alone stay."""
    for match in _TRAILING_UNIT.finditer(text):
        head = text[: match.start()]
        if re.search(r"\d|\\[a-zA-Z]", head) and not re.search(r"[A-Za-z]{4,}$", head) and unit_of(match.group()):
            return head
    return text


def _known(word: str) -> str | None:
    return _NAME_OF.get(word) or _NAME_OF.get(word.lower()) or _NAME_OF.get(word.lower().removesuffix("s"))


def _canonical(rest: str, words: list[str], known: list[str | None]) -> str:
    """The canonical name of one unit, also of a quotient of powers: m^2 for square metres, m/s for metres per
    second."""
    if len(words) == 1 and known[0] is not None and not re.search(r"[/^](?!\s*\\circ)", rest):
        return known[0]
    if known[0] == "degree":
        return _WHOLE.get(words[1].lower(), UNKNOWN) if len(words) == 2 else UNKNOWN
    if len(words) == 1 and words[0].lower() in ("mph", "kph", "kmh", "mps", "fps"):
        return _WHOLE[words[0].lower()]
    text = rest.strip()
    for pattern, replacement in _POWERS:
        text = pattern.sub(replacement, text)
    sides = [_POWER.fullmatch(side) for side in text.split("/")]
    if not 0 < len(sides) <= 2 or any(side is None or _known(side[1]) is None for side in sides):
        return UNKNOWN
    return "/".join(f"{_known(side[1])}{'^' + side[2] if side[2] else ''}" for side in sides if side)
