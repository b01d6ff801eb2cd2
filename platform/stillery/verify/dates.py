"""Parses answers that as a whole are calendar dates. Pure.

Numeric dates with slashes, dots or dashes are read month first ("03/04/2024" is 4 March), day first only where the
first number cannot be a month. Two-digit years are 1970 to 2069. The day of the week is ignored.
"""

import datetime
import re
from dataclasses import dataclass

from stillery.verify.denials import is_denied

_MONTHS = ("january", "february", "march", "april", "may", "june", "july", "august", "september", "october",
           "november", "december")  # fmt: skip
_NAMES = {name: i for i, full in enumerate(_MONTHS, 1) for name in (full, full[:3])} | {"sept": 9}
_MONTH = "(?P<month>" + "|".join(sorted(_NAMES, key=len, reverse=True)) + r")\.?"
_DAY = r"(?P<day>\d{1,2})(?:st|nd|rd|th)?"
_WEEKDAY = r"(?:(?:mon|tues?|wed(?:nes)?|thu(?:rs)?|fri|sat(?:ur)?|sun)(?:day)?\.?,?\s+)?"
_YEAR = r"(?:,?\s*(?P<year>\d{4}))?"
_FORMS = (
    rf"(?:the\s+)?{_DAY}\s+(?:of\s+)?{_MONTH}{_YEAR}",
    rf"{_MONTH}\s+(?:the\s+)?{_DAY}{_YEAR}",
    r"(?P<year>\d{4})[-/.](?P<month>\d{1,2})[-/.](?P<day>\d{1,2})(?:T00:00(?::00)?Z?)?",
    r"(?P<first>\d{1,2})(?P<mark>[-/.])(?P<second>\d{1,2})(?P=mark)(?P<year>\d{4}|\d{2})",
)
_WHOLE = [re.compile(rf"{_WEEKDAY}{form}", re.IGNORECASE | re.ASCII) for form in _FORMS]
_WITHIN = re.compile(
    "|".join(
        re.sub(r"\?P<\w+>", "?:", form).replace("(?P=mark)", "[-/.]").join((r"(?<!\w)", r"(?!\w)")) for form in _FORMS
    ),
    re.IGNORECASE | re.ASCII,
)


@dataclass(frozen=True, slots=True)
class Date:
    """A calendar date; `year` is None if not given."""

    year: int | None
    month: int
    day: int


def parse_date(text: str) -> Date | None:
    """The date in a text, or None. A day that does not exist (30 February) gives None."""
    stripped = text.strip(" \t\n.,;")
    for form in _WHOLE:
        match = form.fullmatch(stripped)
        if match:
            return _checked(*_numbers(match.groupdict()))
    return None


def find_dates(text: str) -> list[str]:
    """The dates within a text that it does not deny, as written, in order."""
    found = (match for match in _WITHIN.finditer(text) if parse_date(match.group()))
    return [match.group() for match in found if not is_denied(text, *match.span())]


def same_date(predicted: Date, gold: Date) -> bool:
    """Whether the prediction contains all parts of the gold date; it may add a year that the gold date lacks."""
    return (predicted.month, predicted.day) == (gold.month, gold.day) and gold.year in (None, predicted.year)


def _numbers(groups: dict[str, str | None]) -> tuple[int | None, int, int]:
    """Year, month and day of a match's groups."""
    written = {name: value for name, value in groups.items() if value is not None}
    year = int(written["year"]) if "year" in written else None
    if "first" not in written:
        month = _NAMES.get(written["month"].lower()) or int(written["month"])
        return year, month, int(written["day"])
    assert year is not None
    if year < 100:
        year += 2000 if year < 70 else 1900
    first, second = int(written["first"]), int(written["second"])
    return (year, first, second) if first <= 12 else (year, second, first)


def _checked(year: int | None, month: int, day: int) -> Date | None:
    try:
        datetime.date(year or 2024, month, day)
    except ValueError:
        return None
    return Date(year, month, day)
