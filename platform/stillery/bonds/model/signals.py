"""What a step is like, as numbers of about 0 to 1 that the model of the step roles weighs.

Its place (does the trace have its result by then), its material (is what it names known, and from how far back), its
wording, and what stands before and after it. Markers are read apart, so that they can be left out.
"""

from collections.abc import Iterable, Sequence
from fractions import Fraction

from stillery.bonds.claims.memory import Memory, recipe_of
from stillery.bonds.claims.outcome import final_key, find_settled, question_equations
from stillery.bonds.claims.reading import Step, content_words, specificity
from stillery.bonds.claims.reflection import find_checks
from stillery.bonds.claims.tokens import prepare, tokenize
from stillery.bonds.model.markers import MARKS, marks_exploration, marks_review, marks_surprise
from stillery.bonds.model.similarity import WordIndex
from stillery.bonds.model.wording import INFERS, TAG, WH, wording_signals

Signals = dict[str, float]

_NEAR = 3
_JUST_NOW = 2
_A_WHILE = 8
_SHORT_WORDS = 6
_FADING_STEPS = 5
_TRIVIAL = 0.2
_MAX_QUESTION_CHARS = 4000
# What a signal of the step before, or after, is worth one step further away.
_FADE = 0.8
_CONTEXT = (
    "plans opens_so opens_but final says tentative question doubt judges computes careful affirms wrong asks modal"
).split()
_MARKED_CONTEXT = "doubt_or_mark waits checks maybe alternatively".split()


def asks(step: Step) -> bool:
    """Whether a step asks for a yes or a no. "What is f(0)?" asks for the next result, "…, right?" asks nothing."""
    return step.is_question and WH.search(step.text) is None and TAG.search(step.text) is None


def infers(step: Step) -> bool:
    """Whether a step says that it follows from something ("so", "because"), and does not ask."""
    return INFERS.search(step.text) is not None and not step.is_question


def step_signals(steps: Sequence[Step], *, text: str, question: str = "") -> list[Signals]:
    """The signals of all steps of a trace, none of which depends on a marker."""
    reader = _Reader(steps, text, question)
    found = [reader.read(step) for step in steps]
    _add_context(found, _CONTEXT)
    return found


def add_marker_signals(found: Sequence[Signals], raw: Sequence[str]) -> None:
    """Put the signals of their markers to those of all steps. `raw` are the steps' texts with markers."""
    for signals, text in zip(found, raw, strict=True):
        for name, pattern in MARKS.items():
            signals[name] = float(pattern.search(text) is not None)
        signals["marks_review"] = float(marks_review(text))
        signals["marks_surprise"] = float(marks_surprise(text))
        signals["marks_exploration"] = float(marks_exploration(text))
        signals["doubt_or_mark"] = max(signals["doubt"], signals["waits"], signals["checks"])
    _add_context(found, _MARKED_CONTEXT)


def _add_context(found: Sequence[Signals], names: Iterable[str]) -> None:
    """Put to each step those of `names` that the nearest steps before and after have, fading with distance."""
    for name in names:
        own = [signals[name] for signals in found]
        before, after = f"before:{name}", f"after:{name}"
        for signals, earlier, later in zip(found, _faded(own), reversed(_faded(own[::-1])), strict=True):
            signals[before] = earlier
            signals[after] = later


def _faded(values: Sequence[float]) -> list[float]:
    """For each place the largest value before it, less by a fifth for each step between."""
    faded: list[float] = []
    level = 0.0
    for value in values:
        faded.append(level)
        level *= _FADE
        if value > level:
            level = value
    return faded


class _Reader:
    """Goes through a trace once, from its first step to its last, and remembers what each has added."""

    def __init__(self, steps: Sequence[Step], text: str, question: str) -> None:
        self._steps, self._text = steps, text
        self._memory, self._index = Memory(), WordIndex([step.words for step in steps])
        self._memory.unknowns.extend(question_equations(question))
        self._settled, self._final = find_settled(steps), final_key(steps)
        asked = question if len(question) <= _MAX_QUESTION_CHARS else ""
        self._asked_words = content_words(asked)
        self._asked_values = {t.value for t in prepare(tokenize(asked)) if t.value is not None}
        self._said: set[str] = set()
        self._last_named: dict[Fraction, int] = {}
        self._checked: int | None = None

    def read(self, step: Step) -> Signals:
        found = {"bias": 1.0} | wording_signals(step.text) | _form(step)
        found |= self._place(step) | self._values(step) | self._words(step) | self._work(step)
        found["infers_settled"] = found["settled"] * infers(step)
        doubts = found["question"] or found["careful"] or found["judges"]
        found["doubt"] = float(bool((found["opens_but"] and doubts) or found["wrong"] or found["asks_back"]))
        self._take_in(step)
        return found

    def _place(self, step: Step) -> Signals:
        since = 0 if self._settled is None else step.index - self._settled
        before = self._steps[step.index - 1].text if step.index else "\n\n"
        return {
            "start": 1 / (1 + step.index / _FADING_STEPS),
            "settled": float(since > 0),
            "since_settled": 1 / (1 + since / _FADING_STEPS) if since > 0 else 0.0,
            "paragraph": float("\n\n" in before[len(before.rstrip()) :]),
            "checked": float(self._checked is not None and step.index - self._checked <= _NEAR),
        }

    def _values(self, step: Step) -> Signals:
        values = {v for v in step.values if specificity(v) > _TRIVIAL}
        sources = [self._memory.source(v, before=step.index) for v in values]
        distance = min((step.index - s for s in sources if s is not None), default=0)
        named = [self._last_named.get(v) for v in values]
        is_final = self._final is not None and (
            self._final in step.results or self._final in step.assigned.values() or self._final in values
        )
        return {
            "values": min(len(step.values), 6) / 6,
            "known_far": float(distance > _NEAR),
            "known_near": float(0 < distance <= _NEAR),
            "seen_values": float(bool(values) and None not in named),
            "near_values": float(bool(values) and all(n is not None and step.index - n <= _JUST_NOW for n in named)),
            "far_values": float(any(n is not None and step.index - n > _A_WHILE for n in named)),
            "question_values": float(bool(values) and values <= self._asked_values),
            "final": float(is_final),
        }

    def _words(self, step: Step) -> Signals:
        nearest = self._index.nearest(step.index)
        recent = range(max(0, step.index - _NEAR), step.index)
        share = 1 / max(len(step.words), 1)
        return {
            "no_words": float(not step.words),
            "length": min(len(step.words), 12) / 12,
            "like_far": max((c for c, i in nearest if step.index - i > _NEAR), default=0.0),
            "like_near": max((c for c, i in nearest if step.index - i <= _NEAR), default=0.0),
            "restates_near": max((self._index.coverage(step.index, i) for i in recent), default=0.0),
            "new_words": len(step.words - self._said) * share,
            "of_question": len(step.words & self._asked_words) * share,
        }

    def _work(self, step: Step) -> Signals:
        memory = self._memory
        recipes = [recipe for e in step.equations if e.computes and (recipe := recipe_of(e)) is not None]
        given = [([known for _, known in memory.assigned.get(name, ())], key) for name, key in step.assigned.items()]
        return {
            "computes": float(step.works_out()),
            "repeats": float(any(recipe in memory.recipes for recipe in recipes)),
            "new_result": float(any(key not in memory.makers for key in step.results)),
            "restates_result": float(bool(step.results) and all(key in memory.makers for key in step.results)),
            "reassigns_same": float(any(key in known for known, key in given)),
            "reassigns_other": float(any(known and key not in known for known, key in given)),
        }

    def _take_in(self, step: Step) -> None:
        returns = find_checks(step, self._steps, self._memory, self._text)
        if returns:
            self._checked = step.index
        self._memory.add(step, is_check=step.rejects() or any(f.verifies is True for f in returns))
        self._index.add(step.index)
        self._said |= step.words
        self._last_named.update(dict.fromkeys(step.values, step.index))


def _form(step: Step) -> Signals:
    """What can be told from the step alone."""
    return {
        "question": float(step.is_question),
        "asks": float(asks(step)),
        "asks_what": float(step.is_question and not asks(step)),
        "tentative": float(step.is_tentative),
        "conditional": float(step.is_conditional),
        "equation": float(bool(step.equations)),
        "assigns": float(bool(step.assigned)),
        "symbols": float(bool(step.sides or step.names)),
        "wrong": float(step.says_wrong),
        "answer": float(step.is_answer),
        "equals": float("=" in step.text),
        "short": float(len(step.text.split()) <= _SHORT_WORDS),
        "announces": float(step.text.rstrip()[-1:] in (":", "：")),
    }
