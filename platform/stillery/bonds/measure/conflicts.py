"""Internal conflicts of a trace, from its steps and claims (docs/concepts/bonds.md).

A conflict counts in every step, also in one that only explores: a wrong sum proves nothing about the attempt. Marker
words ("check", "ok", "maybe") are blanked before a step is read, so they have no effect here.
"""

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction

from stillery.bonds.claims.claims import Located
from stillery.bonds.claims.outcome import question_values
from stillery.bonds.claims.reading import Key, Step, key_of
from stillery.bonds.claims.reflection import Finding

_FALSE, _CONTRADICTION, _CHECKS_NOTHING, _REASSIGNED = 1.0, 1.0, 0.5, 0.5
_SAYS_OF = re.compile(r"\$?\s*(?:is|are|was|gives|works|fails|doesn't|does not|isn't)\b")
_SAYS_NO = re.compile(r"[,;.]\s*(?:no|wrong|incorrect|fails?|false|✗|✘|错)\s*[.!。]?\s*$", re.IGNORECASE)
_WORD = re.compile(r"[^\W\d_]+")


@dataclass(frozen=True, slots=True)
class Conflict:
    """One conflict of a trace: its step, the earlier step (if any), its weight and reason."""

    step: int
    against: int | None
    weight: float
    reason: str


def find_conflicts(
    steps: Sequence[Step], claims: Sequence[Located], checks: Sequence[Finding], *, question: str = ""
) -> list[Conflict]:
    """Claims that are false and not corrected, contradict themselves, check nothing, or are assigned twice without a
    revision."""
    answers = [entry for entry in claims if entry.claim.kind == "answer"]
    found = [
        Conflict(entry.step, None, _FALSE, f"step {entry.step} says that {entry.claim.text}, which is false")
        for entry in claims
        if entry.claim.holds is False and entry.claim.corrected_by is None
        and (entry.claim.kind != "answer" or entry is answers[-1])
    ]  # fmt: skip
    return [*found, *_contradictions(steps, question), *_reassignments(steps, claims, checks)]


def _contradictions(steps: Sequence[Step], question: str) -> Iterator[Conflict]:
    """Checks whose verdict contradicts their own values, and checks against a value from nowhere."""
    known: set[Key] = set(question_values(question))
    words: set[str] = set()
    for step in steps:
        if step.compared:
            yield from _check_pairs(step, known | _two_sides(step), words)
        known |= step.values
        known.update(step.results)
        known.update(step.assigned.values())
        if step.states or step.compared:
            words.update(_WORD.findall(step.text.casefold()))


def _two_sides(step: Step) -> set[Key]:
    """The common result of two computations of a step, neither continuing the other: the sides of an equation."""
    starts = [equation for equation in step.equations if equation.computes]
    ends = [key_of(e) for e in starts if not any(o.left is not None and o.left.first == e.right.first for o in starts)]
    return {key for key in ends if key is not None and ends.count(key) > 1}


def _check_pairs(step: Step, known: set[Key], words: set[str]) -> Iterator[Conflict]:
    pairs = step.compared
    is_same = [_same(found, had) for found, had in pairs]
    says_no = _SAYS_NO.search(step.text) is not None
    if False in is_same and not says_no:
        found, had = pairs[is_same.index(False)]
        reason = f"step {step.index} finds {found} where it had {had}, and goes on"
        yield Conflict(step.index, None, _CONTRADICTION, reason)
    elif says_no and all(is_same):
        yield Conflict(step.index, None, _CONTRADICTION, f"step {step.index} rejects what it finds to agree")
    for _, had in pairs:
        value = read_number(had)
        if (value not in known) if value is not None else (had.casefold() not in words):
            reason = f"step {step.index} checks {had}, which no step before it has"
            yield Conflict(step.index, None, _CHECKS_NOTHING, reason)


def read_number(text: str) -> Fraction | None:
    """The number in digits, with a sign, commas and currency; None for any other text."""
    digits = text.replace(",", "").replace("$", "").replace("−", "-")
    try:
        return Fraction(digits)
    except (ValueError, ZeroDivisionError):
        return None


def _same(one: str, two: str) -> bool | None:
    """Whether two written values are the same; None for a number beside a word."""
    left, right = read_number(one), read_number(two)
    if (left is None) != (right is None):
        return None
    return left == right if left is not None else one.casefold() == two.casefold()


def _reassignments(steps: Sequence[Step], claims: Sequence[Located], checks: Sequence[Finding]) -> list[Conflict]:
    """Names with two values and no sign of a revision between. A name with three or more is read as running through
    cases."""
    given: dict[object, list[Located]] = defaultdict(list)
    for entry in claims:
        step = steps[entry.step]
        is_open = step.is_conditional or step.is_tentative or step.is_question or step.rejects()
        if not is_open and _gives_value(entry) and not _is_case(step, entry):
            given[entry.topic].append(entry)
    failed = {check.target for check in checks if check.verifies is False}
    found: list[Conflict] = []
    for entries in given.values():
        values = list(dict.fromkeys(entry.value for entry in entries))
        if len(values) != 2:
            continue
        first, second = (next(e for e in entries if e.value == value) for value in values)
        if _is_rounded(first.value, second.value):
            continue
        between = steps[first.step + 1 : second.step + 1]
        is_revised = first.step == second.step or any(s.index in failed or s.says_wrong or s.rejects() for s in between)
        was_false = any(e.claim.holds is False for e in claims if e.step == first.step)
        if not is_revised and not was_false:
            reason = f"step {second.step} says {second.claim.text} where step {first.step} said {first.claim.text}"
            found.append(Conflict(second.step, first.step, _REASSIGNED, reason))
    return found


def _is_rounded(one: Key | None, two: Key | None) -> bool:
    """Whether two fractional numbers agree to one part in a thousand: a fraction and its decimal."""
    if not isinstance(one, Fraction) or not isinstance(two, Fraction):
        return False
    is_decimal = one.denominator > 1 and two.denominator > 1
    return is_decimal and abs(one - two) <= abs(one) / 1000


def _is_case(step: Step, entry: Located) -> bool:
    """Whether the value belongs to a case under discussion ("n=5 is odd") rather than a result."""
    return _SAYS_OF.match(step.text, entry.claim.end - step.start) is not None


def _gives_value(entry: Located) -> bool:
    """Whether a claim assigns a number to a single name, or a state that no replay decides to its subject.

    A phrase may well mean two things in two places, so "total = 5" assigns nothing.
    """
    if entry.claim.kind == "state":
        return entry.claim.holds is None and isinstance(entry.topic, tuple) and entry.topic[0] == "state"
    name = entry.claim.text.partition("=")[0].strip() if "=" in entry.claim.text else ""
    is_number = isinstance(entry.value, Fraction) and entry.equation is not None and entry.equation.is_whole
    return entry.claim.kind == "assignment" and is_number and len(name.split()) == 1
