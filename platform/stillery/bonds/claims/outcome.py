"""The final result of a trace, and the step that first reached it."""

from collections.abc import Sequence
from fractions import Fraction

from stillery.bonds.claims.equations import find_equations
from stillery.bonds.claims.expressions import NoExpressionError, parse
from stillery.bonds.claims.memory import Work
from stillery.bonds.claims.reading import Key, Step
from stillery.bonds.claims.tokens import prepare, tokenize

_MAX_QUESTION_CHARS = 4000
_NUMBER_WORDS = {
    word: Fraction(number)
    for number, word in enumerate(
        "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen "
        "seventeen eighteen nineteen twenty".split()
    )
} | {
    word: Fraction(number)
    for number, words in {
        2: "double doubles doubled twice halves halved pair pairs couple both",
        3: "triple triples tripled thrice thirds", 4: "quadruple quadruples quadrupled quarters", 5: "fifth fifths",
        6: "sixth sixths", 7: "seventh week weeks weekly", 8: "eighth eighths", 10: "tenth tenths",
        12: "dozen dozens year years yearly", 20: "score", 30: "thirty", 40: "forty", 50: "fifty", 60: "sixty",
        70: "seventy", 80: "eighty", 90: "ninety", 100: "hundred percent", 1000: "thousand",
    }.items()
    for word in words.split()
} | {"half": Fraction(1, 2), "third": Fraction(1, 3), "quarter": Fraction(1, 4)}  # fmt: skip
# The index of the question among the steps.
QUESTION = -1


def question_equations(question: str) -> list[Work]:
    """The equations with an unknown that a question states, attributed to the step before the first."""
    if len(question) > _MAX_QUESTION_CHARS:
        return []
    equations = find_equations(prepare(tokenize(question)))
    return [Work(QUESTION, e) for e in equations if e.relation == "=" and e.names()]


def question_values(question: str) -> set[Fraction]:
    """The numbers that a question gives, in digits or in words ("a dozen"), also as percentages; for a third also 3."""
    tokens = tokenize(question[:_MAX_QUESTION_CHARS])
    given = {token.value for token in tokens if token.value is not None}
    given |= {number for token in tokens if (number := _NUMBER_WORDS.get(token.text.casefold())) is not None}
    return given | {value / 100 for value in given} | {1 / value for value in given if value.numerator == 1}


def final_key(steps: Sequence[Step]) -> Key | None:
    """The value of a trace's last answer; without one, its last result. None where neither is a value."""
    answers = [step for step in steps if step.is_answer and not step.is_question]
    for step in reversed(answers):
        key = _answer_key(step)
        if key is not None:
            return key
    if answers:
        return None
    return next((next(reversed(step.results)) for step in reversed(steps) if step.results), None)


def _answer_key(step: Step) -> Key | None:
    boxes = [i for i, token in enumerate(step.tokens) if token.kind == "box"]
    if "<answer>" in step.text.casefold():
        boxes.append(next((i for i, token in enumerate(step.tokens) if token.kind != "stop"), 0))
    starts = boxes or [
        i + 1
        for i, token in enumerate(step.tokens)
        if token.kind in ("rel", "relword")
        or token.text in (":", "#")
        or (token.kind == "word" and i + 1 == len(step.tokens))
    ]
    for at in reversed(starts):
        try:
            value = parse(step.tokens, at).value
        except NoExpressionError:
            continue
        if value is not None and not value.names():
            constant = value.rational()
            return constant if constant is not None else value.key()
    return None
