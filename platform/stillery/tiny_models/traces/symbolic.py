"""Programs of the symbolic task families: letters, a coin, swaps.

Every line holds the full state, so that the next one copies it with one change.
"""

import random

from stillery.problems.tasks import Fact, Problem
from stillery.problems.tasks.coin_flip import OTHER_SIDE
from stillery.problems.tasks.shuffled_objects import describe
from stillery.tiny_models.traces.program import Check, Env, Program, ProgramStep, judge


def letters_program(problem: Problem) -> Program:
    """A letter a word, then all of them; a check spells the word."""
    words = [f.name for f in problem.facts[:-1]]

    def spell(word: str, written: str) -> Check:
        return judge(f"{' '.join(word)} ends in {word[-1]}", word[-1], written)

    def step(word: str) -> ProgramStep:
        def guess(_: Env, rng: random.Random) -> str:
            return rng.choice([c for c in word + "estrn" if c != word[-1]])

        return ProgramStep(word, lambda _: f"word {word}:", lambda _: word[-1], lambda _, w: spell(word, w), guess)

    def joined(env: Env) -> str:
        return " ".join(env[word] for word in words)

    def no_check(_: Env, written: str) -> Check | None:
        del written
        return None

    join = ProgramStep("joined", lambda _: "letters:", joined, no_check, lambda env, _: joined(env))

    def spell_all(env: Env) -> Check:
        done: list[str] = []
        for word in words:
            check = spell(word, env[word])
            if not check.ok:
                return Check(
                    ", ".join([*(done or ["check:"]), check.text.removeprefix("check: ")]).replace(":,", ":"), False
                )
            done.append(f"{'' if done else 'check: '}{' '.join(word)} {word[-1]}")
        return Check(f"{', '.join(done)}, ok", True)

    def first_letters(rng: random.Random) -> str:
        del rng
        return f"maybe first letters: {' '.join(word[0] for word in words)}, no, last letters"

    steps = (*(step(word) for word in words), join)
    return Program((), steps, spell_all, first_letters, lambda env: env["joined"].replace(" ", ""))


def coin_program(problem: Problem) -> Program:
    """The side that is up after each person; checks count the flips so far."""
    start, *people = problem.facts
    flips_until: dict[str, int] = {}
    for fact in people:
        flips_until[fact.name] = flips_until.get(fact.depends_on[0], 0) + fact.expression.startswith("flip")

    def count(name: str, written: str) -> Check:
        flips = flips_until[name]
        side = OTHER_SIDE[start.value] if flips % 2 else start.value
        return judge(f"{flips} flips, {'odd' if flips % 2 else 'even'}, {side}", side, written)

    def step(fact: Fact) -> ProgramStep:
        flips = fact.expression.startswith("flip")

        def value(env: Env) -> str:
            before = env.get(fact.depends_on[0], start.value)
            return OTHER_SIDE[before] if flips else before

        return ProgramStep(
            name=fact.name,
            head=lambda _: f"then {fact.name} {'flips' if flips else 'does not'}:",
            value=value,
            check=lambda _, written: count(fact.name, written) if written in OTHER_SIDE else None,
            guess=lambda env, _: OTHER_SIDE[value(env)],
        )

    last = people[-1].name

    def count_first(rng: random.Random) -> str:
        del rng
        return f"maybe count: {flips_until[last]} flips, now one by one"

    return Program(
        opening=(f"start {start.value}",),
        steps=tuple(step(f) for f in people),
        final_check=lambda env: count(last, env[last]),
        alternative=count_first,
        answer=lambda env: "yes" if env[last] == start.value else "no",
    )


def swaps_program(problem: Problem) -> Program:
    """Who has what after each swap; the check at the end follows one object through the swaps."""
    start, *swaps = problem.facts
    asked = problem.question.rsplit("What does ", 1)[1].split()[0]

    def before(fact: Fact, env: Env) -> dict[str, str]:
        return _read(env.get(fact.depends_on[0], start.value))

    def value(fact: Fact, env: Env) -> str:
        held = before(fact, env)
        one, two = fact.expression.split(", ")
        held[one], held[two] = held[two], held[one]
        return describe(held)

    def head(fact: Fact, env: Env) -> str:
        held = before(fact, env)
        return f"swap {', '.join(f'{person} {held[person]}' for person in fact.expression.split(', '))}:"

    def check(fact: Fact, env: Env, written: str) -> Check | None:
        held, after = before(fact, env), _read(written)
        if list(after) != list(held):
            return None
        one, two = fact.expression.split(", ")
        done: list[str] = []
        sources = [(one, two), (two, one), *((p, p) for p in held if p not in (one, two))]
        for source, target in sources:
            says = f"{source} had {held[source]}, {target} has {held[source]}"
            if after[target] != held[source]:
                return judge("; ".join([*done, says]), held[source], after[target])
            if source != target:
                done.append(says)
        return Check(f"check: {'; '.join(done)}, ok", True)

    def guess(fact: Fact, env: Env, rng: random.Random) -> str:
        held = _read(value(fact, env))
        one, two = rng.sample(list(held), 2)
        held[one], held[two] = held[two], held[one]
        return describe(held)

    def step(fact: Fact) -> ProgramStep:
        return ProgramStep(
            name=fact.name,
            head=lambda env: head(fact, env),
            value=lambda env: value(fact, env),
            check=lambda env, written: check(fact, env, written),
            guess=lambda env, rng: guess(fact, env, rng),
        )

    def follow(thing: str) -> list[str]:
        holder = next(p for p, o in _read(start.value).items() if o == thing)
        path = [holder]
        for fact in swaps:
            one, two = fact.expression.split(", ")
            holder = {one: two, two: one}.get(holder, holder)
            path.append(holder)
        return path

    def final(env: Env) -> Check | None:
        held = _read(env[swaps[-1].name])
        if asked not in held or held[asked] not in problem.choices:
            return None
        path = follow(held[asked])
        return judge(f"{held[asked]} goes {' '.join(path)}", path[-1], asked)

    def follow_one(rng: random.Random) -> str:
        thing = rng.choice(problem.choices)
        return f"maybe follow the {thing} only: {' '.join(follow(thing)[:2])}, no, track all"

    return Program(
        opening=(f"start: {start.value}",),
        steps=tuple(step(f) for f in swaps),
        final_check=final,
        alternative=follow_one,
        answer=lambda env: _read(env[swaps[-1].name])[asked],
    )


def _read(state: str) -> dict[str, str]:
    """Who has what, parsed from words; unknown people or things are kept as written."""
    parts = [part.split(" ", 1) for part in state.split(", ")]
    return {part[0]: part[1] if len(part) == 2 else "" for part in parts}
