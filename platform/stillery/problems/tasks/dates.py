"""A date that moves through a year of 365 days. One step is one move. No embedded model trains on this task."""

import datetime
import random

from stillery.problems.problems import Fact, Problem

_MONTHS = tuple("January February March April May June July August September October November December".split())
_EVENTS = ("concert", "wedding", "exam", "party", "race", "trip")
_YEAR = 2023


def make_date(rng: random.Random, num_steps: int) -> Problem:
    """A date that is moved `num_steps` times, by 1 to 40 days, within one year."""
    event = rng.choice(_EVENTS)
    day = datetime.date(_YEAR, 1, 1) + datetime.timedelta(days=rng.randint(0, 364))
    facts = [Fact("start", _write(day), _write(day), ())]
    sentences = [f"The {event} was planned for {_write(day)}."]
    shape = [_write(day)]
    while len(facts) <= num_steps:
        days, sign = rng.randint(1, 40), rng.choice((1, -1))
        moved = day + datetime.timedelta(days=sign * days)
        if moved.year != _YEAR:
            continue
        before = facts[-1].name
        expression = f"{before} {'+' if sign > 0 else '-'} {days}"
        facts.append(Fact(f"move {len(facts)}", _write(moved), expression, (before,)))
        unit = "day" if days == 1 else "days"
        sentences.append(f"It was moved {days} {unit} {'later' if sign > 0 else 'earlier'}.")
        shape.append(f"{sign * days:+d}")
        day = moved
    question = " ".join([*sentences, f"On which date is the {event} now? The year has 365 days."])
    return Problem("dates", question, _write(day), "date", (), num_steps, tuple(facts), f"dates:{''.join(shape)}")


def _write(day: datetime.date) -> str:
    return f"{day.day} {_MONTHS[day.month - 1]}"
