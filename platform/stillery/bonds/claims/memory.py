"""What a trace has established up to a step: who computed which value, who named it, and from which operands.

Every list holds the latest few entries only, so a lookup costs the same at the end of a long trace as at its start.
"""

from collections import defaultdict, deque
from dataclasses import dataclass, field
from fractions import Fraction

from stillery.bonds.claims.derivations import Derivation, derive, is_another_quantity, is_shorter
from stillery.bonds.claims.equations import StatedRelation, operands_of
from stillery.bonds.claims.reading import Key, Step, key_of

_RECENT = 6

# How a value was computed: its operands in order of size, and the number of operations.
Recipe = tuple[tuple[Fraction, ...], int, Key]


@dataclass(frozen=True, slots=True)
class Work:
    """One computation: its step, and the equation."""

    step: int
    equation: StatedRelation

    def text(self, source: str) -> str:
        """The text of the computation, shortened."""
        return shorten(source[self.equation.start : self.equation.end])


def shorten(text: str, limit: int = 48) -> str:
    """Text on one line for display, cut at a limit."""
    line = " ".join(text.split())
    return line if len(line) <= limit else line[: limit - 1] + "…"


def recipe_of(equation: StatedRelation) -> Recipe | None:
    """The computation without its order and layout; None for an equation that is not a computation."""
    if equation.left is None or not equation.computes or equation.left.value is None:
        return None
    return (tuple(sorted(operands_of(equation))), equation.left.num_operations, equation.left.value.key())


@dataclass(slots=True)
class Memory:
    """The steps before the current one. `given` are the numbers of the question, None where there is none; `derived`
    holds each value's first derivation."""

    makers: dict[Key, deque[Work]] = field(default_factory=lambda: defaultdict(lambda: deque(maxlen=_RECENT)))
    first_named: dict[Fraction, int] = field(default_factory=dict[Fraction, int])
    seen: set[Fraction] = field(default_factory=set[Fraction])
    givers: dict[Key, int] = field(default_factory=dict[Key, int])
    recipes: dict[Recipe, deque[Work]] = field(default_factory=lambda: defaultdict(lambda: deque(maxlen=_RECENT)))
    assigned: dict[str, deque[tuple[int, Key]]] = field(
        default_factory=lambda: defaultdict(lambda: deque(maxlen=_RECENT))
    )
    sides: dict[Key, int] = field(default_factory=dict[Key, int])
    last_failure: int | None = None
    given: frozenset[Fraction] | None = None
    derived: dict[Key, list[Derivation]] = field(default_factory=dict[Key, list[Derivation]])
    unknowns: deque[Work] = field(default_factory=lambda: deque(maxlen=_RECENT))

    def add(self, step: Step, *, is_check: bool = False) -> None:
        """Add a step. A result that is only repeated, or comes out of a check, is not attributed to the step that
        repeats it."""
        for equation in step.equations:
            key, recipe = key_of(equation), recipe_of(equation)
            if key is None:
                continue
            work = Work(step.index, equation)
            if recipe is not None:
                if not is_check and not any(w.equation.holds == equation.holds for w in self.recipes.get(recipe, ())):
                    self.makers[key].append(work)
                self.recipes[recipe].append(work)
                if equation.holds is not False and not is_check:
                    self._derive(key, step, equation)
            elif equation.left is not None and (equation.left.value and equation.left.value.names()):
                self.unknowns.append(work)
        for name, key in step.assigned.items() if not step.rejects() else ():
            if not any(known == key for _, known in self.assigned.get(name, ())):
                self.assigned[name].append((step.index, key))
                if key not in self.makers and key not in self.givers:
                    self.givers[key] = step.index
        for side in step.sides:
            self.sides[side] = step.index
        self.seen |= step.values
        for value in () if is_check else step.values:
            self.first_named.setdefault(value, step.index)
        if step.rejects() or step.says_wrong:
            self.last_failure = step.index

    def _derive(self, key: Key, step: Step, equation: StatedRelation) -> None:
        """Keep a value's first derivation, preferring one from given numbers over one from numbers of unknown
        origin."""
        known = self.derived.get(key, [])
        found = derive(step, equation, self.derived, self.given) if len(known) < _RECENT else None
        if found is None or (known and not found.is_grounded):
            return
        if not known or not known[0].is_grounded or is_shorter(found, known[0]):
            self.derived[key] = [found, *known[1:]]
        elif all(is_another_quantity(found, other) for other in known):
            known.append(found)

    def maker(self, key: Key, *, before: int) -> Work | None:
        """The latest computation of a value in an earlier step."""
        return next((w for w in reversed(self.makers.get(key, ())) if w.step < before), None)

    def origin(self, key: Key, *, before: int) -> int | None:
        """The step that computed a value, else the one that assigned it to a name."""
        work = self.maker(key, before=before)
        given = work.step if work is not None else self.givers.get(key)
        return given if given is not None and given < before else None

    def source(self, key: Key, *, before: int) -> int | None:
        """The step that a value comes from: its origin, else the step that first named it."""
        given = self.origin(key, before=before)
        if given is None and isinstance(key, Fraction):
            given = self.first_named.get(key)
        return given if given is not None and given < before else None
