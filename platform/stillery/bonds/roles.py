"""What part a step plays, where nothing that it computes decides it: a multinomial logistic model over what it does.

The signals are of the step's place and material (is what it names known, from how far back, does the trace already have
its result), not of its vocabulary; marker signals are separate, and zero where markers are not to count. The weights
were fitted with an L2 penalty on the tune half of the labelled steps; docs/bonds.md says how to fit them again.
"""

import math
import re
from collections.abc import Mapping, Sequence
from enum import StrEnum
from fractions import Fraction

from stillery.bonds.markers import marks_exploration, marks_review, marks_surprise
from stillery.bonds.memory import Memory
from stillery.bonds.reading import Step, specificity
from stillery.bonds.similarity import WordIndex

_NEAR = 3
_MIN_RETURN = 0.35
_WH = re.compile(
    r"^\W*(?:(?:so|then|and|but|now|next|first)\b\W*)*(?:what|which|how|where|when|who|why)\b", re.IGNORECASE
)
_TAG = re.compile(r"\b(?:right|okay|ok|correct|yes)\W*$", re.IGNORECASE)
_EVALUATES = re.compile(
    r"\b(?:match(?:es)?|consistent|agrees?|mistakes?|missed|missing|earlier|already|valid|works|holds|satisf\w+|"
    r"as (?:before|above)|mentioned|given)\b|一致|正确|成立",
    re.IGNORECASE,
)
_META = re.compile(
    r"\b(?:the (?:problem|question|phrasing|statement)|they (?:want|mean|expect|ask)|interpretation|approach|"
    r"expected)\b|题目",
    re.IGNORECASE,
)
_INFERS = re.compile(
    r"\b(?:so|thus|hence|therefore|then|implies|means|because|since|which is|gives?|simplif\w+|becomes)\b"
    r"|⇒|=>|所以|因此|故|则",
    re.IGNORECASE,
)
_NEGATES = re.compile(
    r"\b(?:not|no|never|cannot|can't|isn't|doesn't|don't|aren't|without)\b|n't\b|不|没", re.IGNORECASE
)


class Role(StrEnum):
    """What a step is for."""

    DERIVES = "derives"
    RETURNS = "returns"
    EXPLORES = "explores"
    OTHER = "other"


def asks(step: Step) -> bool:
    """Whether a step asks for a yes or a no. "What is f(0)?" asks for the next result, "…, right?" asks nothing."""
    return step.is_question and _WH.search(step.text) is None and _TAG.search(step.text) is None


def infers(step: Step) -> bool:
    """Whether a step says that it follows from something ("so", "because"), and does not ask."""
    return _INFERS.search(step.text) is not None and not step.is_question


def signals(
    step: Step, *, memory: Memory, index: WordIndex, settled: int | None, checked: int | None, raw: Sequence[str] | None
) -> dict[str, float]:
    """The signals of one step, each about 0 to 1.

    `settled` is the step that first had the trace's result, `checked` the last step that made a check, `raw` the
    steps' texts with their markers, or None where markers are not to count.
    """
    sources = {v: memory.source(v, before=step.index) for v in step.values if specificity(v) > 0.2}
    distances = [step.index - s for s in sources.values() if s is not None]
    nearest = index.nearest(step.index)
    far = max((c for c, i in nearest if step.index - i > _NEAR), default=0.0)
    near = max((c for c, i in nearest if step.index - i <= _NEAR), default=0.0)
    novel = sum(s is None for s in sources.values()) / len(sources) if sources else 0.0
    is_settled = settled is not None and step.index > settled
    found = {
        "bias": 1.0,
        "settled": float(is_settled),
        "asks": float(asks(step)),
        "asks_settled": float(asks(step) and is_settled),
        "asks_what": float(step.is_question and not asks(step)),
        "tentative": float(step.is_tentative),
        "tentative_asks": float(step.is_tentative and step.is_question),
        "conditional": float(step.is_conditional),
        "computes": float(step.works_out()),
        "computes_settled": float(step.works_out() and is_settled),
        "equation": float(bool(step.equations)),
        "assigns": float(bool(step.assigned)),
        "values": min(len(step.values), 6) / 6,
        "novel": novel,
        "known_far": float(bool(distances) and min(distances) > _NEAR),
        "known_near": float(bool(distances) and min(distances) <= _NEAR),
        "like_far": far,
        "like_near": near,
        "no_words": float(not step.words),
        "length": min(len(step.words), 12) / 12,
        "evaluates": float(_EVALUATES.search(step.text) is not None),
        "evaluates_settled": float(is_settled and _EVALUATES.search(step.text) is not None),
        "meta": float(_META.search(step.text) is not None),
        "infers": float(_INFERS.search(step.text) is not None),
        "infers_settled": float(is_settled and _INFERS.search(step.text) is not None),
        "assigns_number": float(any(isinstance(key, Fraction) for key in step.assigned.values())),
        "symbols": float(bool(step.sides or step.names)),
        "negates": float(_NEGATES.search(step.text) is not None),
        "wrong": float(step.says_wrong),
        "answer": float(step.is_answer),
        "checked": float(checked is not None and step.index - checked <= _NEAR),
    }
    if raw is not None:
        recent = raw[max(0, step.index - _NEAR) : step.index]
        found |= {
            "marks_review": float(marks_review(raw[step.index])),
            "marks_surprise": float(marks_surprise(raw[step.index])),
            "marks_exploration": float(marks_exploration(raw[step.index])),
            "marked_recently": float(any(marks_review(text) for text in recent)),
        }
    return found


def role_odds(found: Mapping[str, float], weights: Mapping[Role, Mapping[str, float]]) -> dict[Role, float]:
    """The probability of each role."""
    scores = {role: sum(w.get(name, 0.0) * x for name, x in found.items()) for role, w in weights.items()}
    top = max(scores.values())
    powers = {role: math.exp(score - top) for role, score in scores.items()}
    total = sum(powers.values())
    return {role: value / total for role, value in powers.items()}


def pick_role(odds: Mapping[Role, float]) -> Role:
    """The likeliest role; a return already where its probability passes a third."""
    if odds[Role.RETURNS] > _MIN_RETURN:
        return Role.RETURNS
    return max((role for role in Role if role is not Role.RETURNS), key=lambda role: odds[role])
