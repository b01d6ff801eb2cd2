"""Boxes of coins described in terms of one another, in shuffled order, with irrelevant boxes.

One step is one quantity to be computed; the requested one depends on part of the boxes only.
"""

import random
from collections.abc import Sequence

from stillery.problems.problems import Fact, Problem
from stillery.problems.tasks.words import COLOURS

_CONTAINERS = ("box", "bag", "jar")
_THINGS = ("coins", "pens", "cards")


def make_quantities(rng: random.Random, num_steps: int) -> Problem:
    """A graph of quantities of which `num_steps`, besides the given ones, lead to the requested one: 1 to 6."""
    assert 1 <= num_steps <= 6, f"quantities take 1 to 6 steps, not {num_steps}"
    colours = rng.sample(COLOURS, len(COLOURS))
    while True:
        facts = _draw_graph(rng, colours, num_steps)
        order = needed(facts, facts[-1].name)
        if len(order) == len(facts) and _is_workable(order):
            break
    distractors = _draw_distractors(rng, colours[len(facts) :], facts, count=rng.randint(1, 2))
    container, things = rng.choice(_CONTAINERS), rng.choice(_THINGS)
    statements = [_state(fact, container, things) for fact in (*facts, *distractors)]
    rng.shuffle(statements)
    *before, asked = reversed(order)
    question = f"{' '.join(statements)} How many {things} are in the {asked.name} {container}?"
    number = {fact.name: f"q{i}" for i, fact in enumerate(order)}
    shape = ";".join(" ".join(number.get(word, word) for word in fact.expression.split()) for fact in order)
    return Problem(
        "quantities", question, asked.value, "number", (), num_steps, (*before, *distractors, asked),
        f"quantities:{shape}",
    )  # fmt: skip


def needed(facts: Sequence[Fact], asked: str) -> list[Fact]:
    """The facts that the requested one depends on, itself first, each in the order of a depth-first look-up."""
    by_name = {fact.name: fact for fact in facts}
    order: dict[str, Fact] = {}

    def visit(name: str) -> None:
        if name not in order:
            order[name] = by_name[name]
            for other in by_name[name].depends_on:
                visit(other)

    visit(asked)
    return list(order.values())


def _is_workable(order: Sequence[Fact]) -> bool:
    """Whether the facts can be computed in the reverse of the look-up order."""
    position = {fact.name: i for i, fact in enumerate(order)}
    return all(position[other] > position[fact.name] for fact in order for other in fact.depends_on)


def _draw_graph(rng: random.Random, colours: Sequence[str], num_steps: int) -> list[Fact]:
    """A given quantity, then derived ones that each depend on the latest, some also on an earlier or a given one."""
    facts = [_give(rng, colours[0])]
    num_derived = 0
    while num_derived < num_steps:
        latest, name = facts[-1], colours[len(facts)]
        new: list[Fact] = []
        if rng.random() < 0.75:
            fact = _derive(rng, name, latest)
        elif len(facts) > 1 and rng.random() < 0.5:
            fact = _add(name, latest, rng.choice(facts[:-1]))
        elif len(facts) < num_steps + 3:
            new = [_give(rng, name)]
            fact = _add(colours[len(facts) + 1], latest, new[0])
        else:
            continue
        if 0 <= int(fact.value) <= 99:
            facts += [*new, fact]
            num_derived += 1
    return facts


def _draw_distractors(rng: random.Random, colours: Sequence[str], facts: Sequence[Fact], *, count: int) -> list[Fact]:
    """Quantities that are given, or depend on others, but never on the requested one, which is the last of `facts`."""
    made: list[Fact] = []
    for colour in colours[:count]:
        fact = _derive(rng, colour, rng.choice(facts[:-1]))
        fits = rng.random() < 0.5 and 0 <= int(fact.value) <= 99
        made.append(fact if fits else _give(rng, colour))
    return made


def _give(rng: random.Random, name: str) -> Fact:
    value = str(rng.randint(2, 40))
    return Fact(name, value, value, ())


def _derive(rng: random.Random, name: str, on: Fact) -> Fact:
    operator, n = rng.choice((("+", rng.randint(1, 20)), ("-", rng.randint(1, 20)), ("*", rng.choice((2, 2, 3)))))
    value = {"+": int(on.value) + n, "-": int(on.value) - n, "*": int(on.value) * n}[operator]
    return Fact(name, str(value), f"{on.name} {operator} {n}", (on.name,))


def _add(name: str, one: Fact, two: Fact) -> Fact:
    return Fact(name, str(int(one.value) + int(two.value)), f"{one.name} + {two.name}", (one.name, two.name))


def _state(fact: Fact, container: str, things: str) -> str:
    """The fact as a sentence."""
    subject = f"The {fact.name} {container} holds"
    if not fact.depends_on:
        return f"{subject} {fact.value} {things}."
    if len(fact.depends_on) == 2:
        one, two = fact.depends_on
        return f"{subject} as many {things} as the {one} {container} and the {two} {container} together."
    _, operator, n = fact.expression.split()
    amount = {
        "+": f"{n} more {things} than",
        "-": f"{n} fewer {things} than",
        "*": f"{'twice' if n == '2' else f'{n} times'} as many {things} as",
    }[operator]
    return f"{subject} {amount} the {fact.depends_on[0]} {container}."
