"""Stories: something is counted, then events change the count one after another. One step is one event.

A theme is an opening, a question, and events that increase, decrease or multiply the count. Within a story no two
events use the same verb, so every event has a name of its own.
"""

import random
from dataclasses import dataclass

from stillery.problems.problems import Fact, Problem
from stillery.problems.tasks.words import NAMES


@dataclass(frozen=True, slots=True)
class Theme:
    """`{who}` is a person, `{n}` a number; an event is a short name and a sentence."""

    opening: str
    question: str
    more: tuple[tuple[str, str], ...]
    fewer: tuple[tuple[str, str], ...]
    scaled: bool


def _collecting(noun: str, more: str, fewer: str) -> Theme:
    return Theme(
        opening=f"{{who}} has {{n}} {noun}.",
        question=f"How many {noun} does {{who}} have now?",
        more=tuple((f"{verb} {{n}}", f"{{who}} {verb} {{n}} more.") for verb in more.split(", ")),
        fewer=tuple((f"{verb} {{n}}", f"{{who}} {verb} {{n}}.") for verb in fewer.split(", ")),
        scaled=True,
    )


_THEMES = (
    _collecting("apples", "buys, finds, picks, receives", "eats, sells, gives away, loses"),
    _collecting("coins", "earns, finds, wins, saves", "spends, loses, pays, gives away"),
    _collecting("cards", "buys, wins, draws, receives", "sells, loses, plays, gives away"),
    Theme(
        opening="A bus leaves with {n} people.",
        question="How many people are on the bus now?",
        more=tuple((f"{v} {{n}}", f"It {v} {{n}} people.") for v in ("takes", "picks up", "collects", "loads")),
        fewer=tuple((f"{v} {{n}}", f"It {v} {{n}} people.") for v in ("drops", "leaves", "loses", "unloads")),
        scaled=False,
    ),
    Theme(
        opening="A meeting was planned for day {n}.",
        question="On which day is the meeting now?",
        more=(
            ("moved {n} later", "It was moved {n} days later."),
            ("delayed {n}", "It was delayed by {n} days."),
            ("pushed {n} back", "It was pushed {n} days back."),
            ("put {n} off", "It was put off by {n} days."),
        ),
        fewer=(
            ("moved {n} earlier", "It was moved {n} days earlier."),
            ("brought {n} forward", "It was brought forward by {n} days."),
            ("pulled {n} ahead", "It was pulled {n} days ahead."),
            ("advanced {n}", "It was advanced by {n} days."),
        ),
        scaled=False,
    ),
)
_SCALES = (
    ("doubles", "*", 2, "The number doubles."),
    ("triples", "*", 3, "The number triples."),
    ("halves", "/", 2, "Half of them are lost."),
    ("thirds", "/", 3, "Only a third of them remain."),
)


def make_story(rng: random.Random, num_steps: int) -> Problem:
    """A story of `num_steps` events: 1 to 8."""
    assert 1 <= num_steps <= 8, f"word_problems take 1 to 8 steps, not {num_steps}"
    theme, who, count = rng.choice(_THEMES), rng.choice(NAMES), rng.randint(2, 60)
    sentences = [theme.opening.format(who=who, n=count)]
    facts = [Fact("start", str(count), str(count), ())]
    shape = [str(count)]
    used: set[str] = set()
    while len(facts) <= num_steps:
        form, operator, n, text = _draw_event(rng, theme)
        value = {"+": count + n, "-": count - n, "*": count * n, "/": count // n}[operator]
        uneven = operator == "/" and count % n != 0
        if form in used or uneven or not 0 <= value <= 99 or (operator in "*/" and count < 2):
            continue
        used.add(form)
        before = facts[-1].name
        facts.append(Fact(form.format(n=n), str(value), f"{before} {operator} {n}", (before,)))
        sentences.append(text.format(who=who, n=n))
        shape.append(f"{operator}{n}")
        count = value
    question = " ".join([*sentences, theme.question.format(who=who)])
    signature = f"word_problems:{''.join(shape)}"
    return Problem("word_problems", question, str(count), "number", (), num_steps, tuple(facts), signature)


def _draw_event(rng: random.Random, theme: Theme) -> tuple[str, str, int, str]:
    """The name's form, the operator, the number and the sentence's form of an event."""
    if theme.scaled and rng.random() < 0.2:
        return rng.choice(_SCALES)
    operator = rng.choice("+-")
    form, text = rng.choice(theme.more if operator == "+" else theme.fewer)
    return form, operator, rng.randint(1, 20), text
