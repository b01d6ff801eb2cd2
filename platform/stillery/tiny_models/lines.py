"""Drills in the wording of the traces: single lines, each one operation, statements of a question read one by one, and
every step of a problem taken alone.

They teach a model how a step is worded. No drill shows how steps combine into a solution: no operation starts from
another one's result.
"""

import random

from stillery.problems.problems import Problem
from stillery.tiny_models.tokenizer import END, render_prompt
from stillery.tiny_models.traces import PROGRAMS
from stillery.tiny_models.traces.program import Env

# Tasks whose lines change a state: the name of a line's state at its start.
_STATES = {"word_problems": "start ", "coin_flip": "start ", "shuffled_objects": "start: "}


def draw_line(rng: random.Random, problem: Problem) -> str:
    """One step of a problem with its value, after the state that it changes, if its task has one."""
    steps = PROGRAMS[problem.task](problem).steps
    numbers = [i for i, step in enumerate(steps) if step.name != "joined"]
    chosen = rng.choice(numbers)
    env: Env = {}
    for step in steps[: chosen + 1]:
        env[step.name] = step.value(env) or ""
    step = steps[chosen]
    line = f"{step.head(env)} {env[step.name]}\n"
    opening = _STATES.get(problem.task)
    if opening is None:
        return line
    before = env[steps[chosen - 1].name] if chosen else problem.facts[0].value
    return f"{opening}{before}\n{line}"


def read_statements(rng: random.Random, problem: Problem) -> tuple[str, str] | None:
    """The statements of a question, and some of them worded as in a trace; None if there is nothing to read.

    Nothing is computed. Quantities are requested by name, at random; events are read in order.
    """
    statements = _statements(problem)
    if problem.task == "quantities":
        facts = rng.sample(problem.facts, min(4, len(problem.facts)))
        asked = ", ".join(fact.name for fact in facts)
        lines = [f"{'need' if fact.depends_on else 'have'} {fact.name} = {fact.expression}" for fact in facts]
        return render_prompt(f"{statements}. Read {asked}."), _end(lines)
    start, *events = problem.facts
    if problem.task == "word_problems":
        lines = [f"start {start.value}", *(f"then {event.name}" for event in events)]
    elif problem.task == "coin_flip":
        says = ((event.name, event.expression.startswith("flip")) for event in events)
        lines = [f"start {start.value}", *(f"then {name} {'flips' if flips else 'does not'}" for name, flips in says)]
    elif problem.task == "shuffled_objects":
        lines = [f"start: {start.value}", *(f"swap {event.expression}" for event in events)]
    else:
        return None
    return render_prompt(f"{statements}. Read all."), _end(lines)


def work_alone(rng: random.Random, problem: Problem) -> tuple[str, str] | None:
    """A question, and operations of its steps, none of which uses another one's result: all events, each from the
    start; all letters, unjoined; or one value that follows from given ones. None if a value leaves 0..99, or if that
    happens to be the solution."""
    steps = PROGRAMS[problem.task](problem).steps
    facts = {fact.name: fact for fact in problem.facts}
    start = problem.facts[0]
    alone: Env = {step.name: start.value for step in steps}
    lines: list[str] = []
    asked = "each alone"
    if problem.task in _STATES:
        lines.append(f"{_STATES[problem.task]}{start.value}")
    elif problem.task == "last_letters":
        steps = steps[:-1]
    else:
        given = {name for name, fact in facts.items() if problem.task == "quantities" and not fact.depends_on}
        ready = [step for step in steps if given.issuperset(facts[step.name].depends_on)]
        if not ready:
            return None
        steps, alone = (rng.choice(ready),), {}
        asked = f"only {steps[0].name}"
        if problem.task == "quantities":
            fact = facts[steps[0].name]
            lines.append(f"need {fact.name} = {fact.expression}")
            lines += [f"have {name} = {facts[name].value}" for name in fact.depends_on]
    values = [step.value(alone) for step in steps]
    if None in values:
        return None
    lines += [f"{step.head(alone)} {value}" for step, value in zip(steps, values, strict=True)]
    # If nothing changes on the way, or there is one step only, this would be the solution.
    if lines == _solution(problem):
        return None
    return render_prompt(f"{_statements(problem)}. Work out {asked}."), _end(lines)


def _solution(problem: Problem) -> list[str]:
    program, env, lines = PROGRAMS[problem.task](problem), Env(), list[str]()
    for step in program.steps:
        env[step.name] = step.value(env) or ""
        lines.append(f"{step.head(env)} {env[step.name]}")
    return [*program.opening, *lines]


def _statements(problem: Problem) -> str:
    """The question without its final request, if that is a separate sentence."""
    statements, _, asked = problem.question.rstrip("?.").rpartition(". ")
    return statements.rsplit(". What does", 1)[0] or asked


def _end(lines: list[str]) -> str:
    return "\n".join(lines) + END
