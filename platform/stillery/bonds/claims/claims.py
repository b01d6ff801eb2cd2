"""The assertions of a trace's steps, decided where possible, and the later steps that correct the false ones."""

import re
from collections import defaultdict, deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

from stillery.bonds.claims import algebra
from stillery.bonds.claims.equations import StatedRelation
from stillery.bonds.claims.expressions import NoExpressionError, parse
from stillery.bonds.claims.memory import recipe_of
from stillery.bonds.claims.outcome import question_equations
from stillery.bonds.claims.reading import Key, Step, key_of
from stillery.bonds.claims.tokens import prepare, tokenize
from stillery.maths.quotients import constant
from stillery.records import Claim

_ANSWER_TEXT = re.compile(
    r"<answer>\s*(?P<tag>[^<]{1,200})|(?P<box>\\(?:boxed|fbox)\s*\{)|^####\s*(?P<hash>[^\n]{1,200})"
    r"|\banswer(?:\s+to [^.:\n]{1,60})?\s*(?:\*\*)?\s*(?:is|:|=)\s*(?:\*\*)?\s*(?P<said>[^\n]{1,200})"
    r"|答案(?:是|为|:|：)\s*(?P<cjk>[^\n。]{1,100})",
    re.IGNORECASE | re.MULTILINE,
)
_APPLIED = re.compile(r"[a-zA-Z]\w*\(")
# A step with more answers than this is read for its last ones.
_MAX_ANSWERS = 4
_SQUEEZE = re.compile(r"[^\w\u4e00-\u9fff]|_")
_CLAUSE_END = re.compile(r"[.,;:。；：，]\s|，|\bthen\b")
_IF = re.compile(r"\b(?:if|unless|whether|suppose|assum(?:e|ing))\b|若|如果|假设", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Located:
    """A claim with the step that makes it. `topic` is equal for two claims that answer the same question (the same
    computation, the same subject), `value` is the answer."""

    step: int
    claim: Claim
    topic: object
    value: Key | None
    equation: StatedRelation | None = None


def find_claims(steps: Sequence[Step], *, question: str = "", answer: str | None = None) -> list[Located]:
    """The claims of all steps, in order; `answer` is the right answer, where known.

    A relation that a step only asks about or supposes is never counted as false.
    """
    condition = _Condition(question)
    located: list[Located] = []
    for step in steps:
        for equation in step.equations:
            found = _from_equation(step, equation, condition)
            if found is not None:
                located.append(found)
        for state in step.states:
            text = step.text[state.start : state.end]
            claim = Claim(step.start + state.start, step.start + state.end, text, "state", state.holds, None)
            topic = ("counted" if state.counted else "state", state.subject)
            located.append(Located(step.index, claim, topic, state.value))
        if step.is_answer:
            located += _from_answer(step, answer)
    return _correct(_put_solutions(located, steps), steps)


class _Condition:
    """The single equation in one unknown that the question states, if any, used to test the unknown's values."""

    def __init__(self, question: str) -> None:
        stated = [work.equation for work in question_equations(question)]
        is_one = len(stated) == 1 and len(stated[0].names()) == 1 and stated[0].subject is None
        self._equation = stated[0] if is_one else None
        self.name = next(iter(stated[0].names())) if is_one else None

    def holds(self, value: Key) -> bool | None:
        """Whether the unknown may have this value."""
        if self._equation is None or self.name is None or not isinstance(value, Fraction):
            return None
        return solves(self._equation, self.name, value)


def _from_equation(step: Step, equation: StatedRelation, condition: _Condition) -> Located | None:
    text = step.text[equation.start - step.start : equation.end - step.start].strip()
    holds, key = equation.holds, key_of(equation)
    topic: object = (equation.recipe or equation.subject, equation.relation)
    if equation.left is None or equation.subject is not None:
        kind = "assignment"
        topic = ("subject", equation.subject)
        if holds is None and equation.subject == condition.name and key is not None:
            holds = condition.holds(key)
    elif equation.names():
        kind = "algebraic"
    else:
        kind = "arithmetic"
        topic = ("recipe", recipe_of(equation) or (equation.recipe, equation.relation))
    if holds is False and not _is_stated(step, equation):
        holds = None
    claim = Claim(equation.start, equation.end, text, kind, holds, None)
    return Located(step.index, claim, topic, key, equation)


def _put_solutions(located: Sequence[Located], steps: Sequence[Step]) -> list[Located]:
    """Decide equations in one unknown by the one value that the trace gives to it, if it gives exactly one."""
    values: dict[str, set[Key]] = defaultdict(set)
    for step in steps:
        for name, key in step.assigned.items():
            values[name].add(key)
    # i is an index in one line and the imaginary unit in another.
    known = {name: next(iter(keys)) for name, keys in values.items() if len(keys) == 1 and name != "i"}
    result: list[Located] = []
    for entry in located:
        equation = entry.equation
        is_open = entry.claim.holds is None and entry.claim.kind == "algebraic"
        if equation is not None and is_open and equation.is_whole and not _APPLIED.search(entry.claim.text):
            names = equation.names()
            value = known.get(next(iter(names))) if len(names) == 1 else None
            holds = solves(equation, next(iter(names)), value) if isinstance(value, Fraction) else None
            if holds is False and not _is_stated(steps[entry.step], equation):
                holds = None
            entry = replace(entry, claim=replace(entry.claim, holds=holds))
        result.append(entry)
    return result


def solves(equation: StatedRelation, name: str, value: Fraction) -> bool | None:
    """Whether an equation holds with a value substituted for its unknown."""
    if equation.left is None or equation.left.value is None or equation.right.value is None or equation.relation != "=":
        return None
    known = {name: constant(value)}
    left, right = (algebra.substitute(v, known) for v in (equation.left.value, equation.right.value))
    return algebra.equal(left, right)


def _is_stated(step: Step, equation: StatedRelation) -> bool:
    """Whether a step states an equation, rather than asking it, supposing it or retracting it at once.

    A step that ends in "no" retracts its last equation ("4*2 + 7 = 31, no"), unless it compares a value ("had 31, no");
    one that says "not 31" retracts the equation with result 31. The computations before it stand.
    """
    if step.rejects():
        is_last = equation is step.equations[-1]
        is_taken_back = step.fails and is_last and not step.compared
        if is_taken_back or key_of(equation) in step.refuted or not equation.is_whole:
            return False
        return not step.is_question and not _supposes(step, equation.start)
    return is_asserted(step, equation.start)


def is_asserted(step: Step, position: int) -> bool:
    """Whether a step states the text at a position, rather than asking it, supposing it or retracting it at once."""
    return not (step.is_question or step.rejects() or _supposes(step, position))


def _supposes(step: Step, position: int) -> bool:
    clause = _CLAUSE_END.split(step.text[: position - step.start])[-1]
    return _IF.search(clause) is not None


def _from_answer(step: Step, answer: str | None) -> list[Located]:
    found: list[Located] = []
    for match in deque(_ANSWER_TEXT.finditer(step.text), maxlen=_MAX_ANSWERS):
        start, end = _answer_span(step.text, match)
        text = step.text[start:end].strip().rstrip(".")
        if not text:
            continue
        value = read_value(text)
        holds = None if answer is None else _same(text, value, answer)
        claim = Claim(step.start + start, step.start + end, text, "answer", holds, None)
        found.append(Located(step.index, claim, ("answer",), value if value is not None else letters_and_digits(text)))
    return found


def _answer_span(text: str, match: re.Match[str]) -> tuple[int, int]:
    """The position of the answer itself; for a box, up to its closing brace."""
    name = match.lastgroup or "said"
    if name != "box":
        return match.span(name)
    depth = 1
    for at in range(match.end(), min(len(text), match.end() + 400)):
        depth += {"{": 1, "}": -1}.get(text[at], 0)
        if not depth:
            return match.end(), at
    return match.end(), min(len(text), match.end() + 400)


def read_value(text: str) -> Fraction | None:
    """The number in a short text, without units and currency; None if there is none."""
    tokens = prepare(tokenize(text[:200]))
    for first in range(min(len(tokens), 3)):
        try:
            expression = parse(tokens, first)
        except NoExpressionError:
            continue
        is_rest_words = all(t.kind in ("word", "money", "stop", "close") for t in tokens[expression.end :])
        return expression.rational() if is_rest_words else None
    return None


def letters_and_digits(text: str) -> str:
    """Only the letters and digits of a text."""
    return _SQUEEZE.sub("", text.casefold())


def _same(text: str, value: Fraction | None, answer: str) -> bool:
    right = read_value(answer)
    if value is not None and right is not None:
        return value == right
    return letters_and_digits(text) == letters_and_digits(answer)


def _correct(located: Sequence[Located], steps: Sequence[Step]) -> list[Located]:
    """The claims, each false one with the later step that corrects it."""
    later: dict[object, list[Located]] = defaultdict(list)
    for entry in located:
        if entry.claim.holds is not False:
            later[entry.topic].append(entry)
    refuted: dict[Key, list[int]] = defaultdict(list)
    for step in steps:
        for key in step.refuted:
            if step.values - {key} or step.states:
                refuted[key].append(step.index)
    result: list[Located] = []
    for entry in located:
        if entry.claim.holds is False:
            by = next((o.step for o in later[entry.topic] if _rights(entry, o)), None)
            if by is None and entry.value is not None:
                by = next((i for i in refuted.get(entry.value, ()) if i > entry.step), None)
            entry = replace(entry, claim=replace(entry.claim, corrected_by=by))
        result.append(entry)
    return result


def _rights(wrong: Located, other: Located) -> bool:
    """Whether another, later claim answers the same question differently."""
    is_later = other.claim.start > wrong.claim.start and other.step > wrong.step
    is_sure = other.claim.holds is True or wrong.claim.kind in ("assignment", "answer")
    return is_later and is_sure and other.value != wrong.value
