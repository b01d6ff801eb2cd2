"""Conflicts between a trace, including its answer, and its question."""

import re
from collections.abc import Iterator, Sequence
from fractions import Fraction

from stillery.bonds.claims.claims import Located, letters_and_digits
from stillery.bonds.claims.reading import Key, Step
from stillery.bonds.claims.states import other_side, read_pairs
from stillery.bonds.measure.conflicts import Conflict, read_number
from stillery.records import Claim

_UNFOUNDED, _MISQUOTED = 1.0, 1.0
_MAX_WORD_ANSWER = 40
_YES_NO = frozenset(("yes", "no", "true", "false", "是", "否"))
_SENTENCE_END = re.compile(r"(?<=[.!?;。！？；])\s+|\n+")
_NUMERAL = re.compile(r"(?<![\w.])\d[\d,]*(?:\.\d+)?(?![\w]|\.\d)")
_WORD = re.compile(r"[^\W\d_]+")
_EITHER = re.compile(r"\d\s+or\s+[-−$]?\d|\\boxed[^\n]*\\boxed")


def find_answer_conflicts(steps: Sequence[Step], claims: Sequence[Located], question: str = "") -> list[Conflict]:
    """Numbers of the question assigned to another name, and an answer that the steps never reached, that is another
    subject's state, denies the last state, or is one of several."""
    return [
        *_misquotes(claims, question),
        *_unfounded(steps, claims),
        *_other_states(steps, claims, question),
        *_several(steps, claims),
    ]


def _misquotes(claims: Sequence[Located], question: str) -> Iterator[Conflict]:
    """A number that the question gives to one name, quoted for another."""
    first: dict[str, Located] = {}
    for entry in claims:
        name = _quoted_name(entry)
        if name is not None:
            first.setdefault(name, entry)
    sentences = [
        (set(_WORD.findall(sentence.casefold())), {read_number(m.group()) for m in _NUMERAL.finditer(sentence)})
        for sentence in (_SENTENCE_END.split(question) if first else ())
    ]
    for name, entry in first.items():
        said = {number for words, numbers in sentences if name in words for number in numbers}
        elsewhere = {number for words, numbers in sentences if name not in words for number in numbers}
        if len(said) == 1 and entry.value not in said and entry.value in elsewhere:
            reason = f"step {entry.step} says {entry.claim.text}, the question {next(iter(said))}"
            yield Conflict(entry.step, None, _MISQUOTED, reason)


def _quoted_name(entry: Located) -> str | None:
    """The single word to which a claim assigns a bare number; None for any other claim."""
    equation = entry.equation
    if equation is None or equation.relation != "=" or entry.claim.kind != "assignment":
        return None
    name = (equation.subject or "").casefold()
    is_bare = isinstance(entry.value, Fraction) and equation.right.num_operations == 0
    return name if is_bare and len(name) > 1 and name.isalpha() else None


def _unfounded(steps: Sequence[Step], claims: Sequence[Located]) -> list[Conflict]:
    """A final answer that the steps before it never reached."""
    last = _last_answer(claims)
    before = [step for step in steps if last is not None and step.index < last.step]
    if last is None or not before or last.value is None or last.claim.holds is not None:
        return []
    if isinstance(last.value, str):
        is_plain = last.claim.text.replace(" ", "").isalpha() and len(last.value) <= _MAX_WORD_ANSWER
        is_founded = not is_plain or last.value in _YES_NO or any(_says(step, last.value) for step in before)
    else:
        digits = letters_and_digits(last.claim.text)
        is_founded = last.value in _standing(before, claims) or _is_written_apart(digits, before)
    if is_founded:
        return []
    return [_unfounded_answer(last.step, last.claim, "is not what the steps came to")]


def _several(steps: Sequence[Step], claims: Sequence[Located]) -> Iterator[Conflict]:
    """Two adjacent answers where the question asks for one: within one answer, or in two with nothing between them."""
    answers = [entry for entry in claims if entry.claim.kind == "answer"]
    if not answers:
        return
    last = answers[-1]
    beside = range(last.step - 1, last.step + 1) if "<answer>" in steps[last.step].text.casefold() else (last.step,)
    others = [e for e in answers if e.step in beside and e.value != last.value and steps[e.step].is_answer]
    is_tagged = [e for e in others if e.step == last.step or "<answer>" in steps[e.step].text.casefold()]
    if is_tagged or _EITHER.search(last.claim.text):
        yield _unfounded_answer(last.step, last.claim, "is one of several that are given")


def _last_answer(claims: Sequence[Located]) -> Located | None:
    return next((entry for entry in reversed(claims) if entry.claim.kind == "answer"), None)


def _says(step: Step, answer: str) -> bool:
    """Whether consecutive words of a step make up the answer, as "z m n" does "zmn"."""
    if answer not in letters_and_digits(step.text):
        return False
    words = [letters_and_digits(word) for word in re.findall(r"\w+", step.text)]
    for first in range(len(words)):
        joined = ""
        for word in words[first:]:
            joined += word
            if joined == answer:
                return True
            if len(joined) >= len(answer):
                break
    return False


def _is_written_apart(digits: str, steps: Sequence[Step]) -> bool:
    """Whether a long number is written with spaces ("118 000") in a step."""
    return len(digits) > 3 and any(digits in letters_and_digits(step.text) for step in steps)


def _standing(steps: Sequence[Step], claims: Sequence[Located]) -> set[Key]:
    """The values that steps computed or named and that do not come from a false claim alone."""
    false = {(entry.step, entry.value) for entry in claims if entry.claim.holds is False}
    return {
        key
        for step in steps
        for key in (*step.results, *step.assigned.values(), *step.values)
        if (step.index, key) not in false and key not in step.refuted
    }


def _other_states(steps: Sequence[Step], claims: Sequence[Located], question: str) -> Iterator[Conflict]:
    """An answer about one subject that is another's last state, or that denies the last state that the question asks
    for."""
    last = _last_answer(claims)
    asked = next((s for s in reversed(_SENTENCE_END.split(question.strip())) if s.rstrip().endswith(("?", "？"))), "")
    if last is None or not isinstance(last.value, str) or not asked or last.claim.holds is not None:
        return
    states = [state for step in steps if step.index <= last.step for state in step.states if not state.counted]
    words = set(re.findall(r"\w+", asked))
    holdings = next((pairs for state in reversed(states) if len(pairs := read_pairs(state.value)) > 1), {})
    things = {holder: letters_and_digits(thing) for holder, thing in holdings.items()}
    named = [holder for holder in things if holder in words]
    if len(named) == 1 and last.value != things[named[0]] and last.value in things.values():
        yield _unfounded_answer(last.step, last.claim, f"is not what {named[0]} had at last")
    sides = [word.casefold() for word in words if other_side(word.casefold())]
    final = next((state.value for state in reversed(states) if other_side(state.value)), None)
    is_known = len(sides) == 1 and final in (sides[0], other_side(sides[0])) and last.value in ("yes", "no")
    if is_known and (last.value == "yes") != (final == sides[0]):
        yield _unfounded_answer(last.step, last.claim, f"denies the last state, {final}")


def _unfounded_answer(step: int, claim: Claim, why: str) -> Conflict:
    return Conflict(step, None, _UNFOUNDED, f"the answer {claim.text} {why}")
