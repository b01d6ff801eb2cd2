"""The teacher's traces: a Problem in, a completion out, as pieces of text with loss flags.

    <think>
    one step a line
    </think>
    <answer>42</answer>

A wrong value is masked and then caught by a check and corrected, so a model learns to catch mistakes, not to make them.
In style `end_check` the mistake runs on to the check at the end, and all that follows from it is masked.
"""

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from stillery.problems.tasks import Problem
from stillery.tiny_models.traces.arithmetic import equation_program, quantity_program, story_program
from stillery.tiny_models.traces.program import Env, Program, ProgramStep
from stillery.tiny_models.traces.symbolic import coin_program, letters_program, swaps_program

PROGRAMS: dict[str, Callable[[Problem], Program]] = {
    "equations": equation_program,
    "word_problems": story_program,
    "last_letters": letters_program,
    "coin_flip": coin_program,
    "shuffled_objects": swaps_program,
    "quantities": quantity_program,
}

# Style -> share of traces.
STYLES = {"terse": 0.35, "checked": 0.25, "end_check": 0.2, "alternative": 0.2}
_CHECK_SHARE = {"terse": 0.0, "checked": 0.6, "end_check": 0.0, "alternative": 0.15}


@dataclass(frozen=True, slots=True)
class Piece:
    """Text of a completion. `loss` says whether it is trained on; `step` is the number of the step whose right value it
    is, written for the first time (None for all other text)."""

    text: str
    loss: bool = True
    step: int | None = None


@dataclass(frozen=True, slots=True)
class Trace:
    """A completion, and the mistakes (step -> wrong value) that it makes and corrects."""

    pieces: tuple[Piece, ...]
    style: str
    mistakes: dict[int, str]

    @property
    def text(self) -> str:
        return "".join(piece.text for piece in self.pieces)


def write_trace(
    problem: Problem, *, seed: int, mistakes: Mapping[int, str] | None = None, style: str | None = None
) -> Trace:
    """A trace in a style (drawn by STYLES unless given), with the mistakes that its checks can catch.

    The same seed gives the same trace except for the mistakes and their consequences.
    """
    rng = random.Random(seed)
    style = rng.choices(list(STYLES), list(STYLES.values()))[0] if style is None else style
    program = PROGRAMS[problem.task](problem)
    checked = [rng.random() < _CHECK_SHARE[style] for _ in program.steps]
    if style == "checked":
        checked[rng.randrange(len(checked))] = True
    pieces = [Piece("<think>\n")]
    if style == "alternative":
        pieces.append(Piece(program.alternative(rng) + "\n"))
    pieces += [Piece(line + "\n") for line in program.opening]
    made: dict[int, str] = {}
    if style == "end_check":
        late = _write_with_late_correction(program, mistakes or {})
        if late is not None:
            made = dict(list((mistakes or {}).items())[:1])
            pieces += late
    if not made:
        env: Env = {}
        for number, step in enumerate(program.steps):
            wrong = (mistakes or {}).get(number)
            written = _write_step(step, env, number=number, checked=checked[number], wrong=wrong)
            if any(not piece.loss for piece in written):
                made[number] = wrong or ""
            pieces += written
        final = program.final_check(env) if style == "end_check" else None
        if final is not None:
            pieces.append(Piece(final.text + "\n"))
    pieces.append(Piece(f"</think>\n<answer>{problem.answer}</answer>"))
    return Trace(tuple(pieces), style, made)


def _write_step(step: ProgramStep, env: Env, *, number: int, checked: bool, wrong: str | None) -> list[Piece]:
    """The line of a step; a wrong value first, with the check that catches it, if a check can. Puts the right value
    into `env`."""
    head, value = step.head(env), step.value(env)
    assert value is not None, f"step {step.name} has no value"
    pieces: list[Piece] = []
    caught = step.check(env, wrong) if wrong is not None and wrong != value else None
    if wrong is not None and caught is not None and not caught.ok:
        pieces += [Piece(head), Piece(f" {wrong}", loss=False), Piece(f"\n{caught.text}\nwait, redo: {head} {value}\n")]
    else:
        pieces += [Piece(head), Piece(f" {value}", step=number), Piece("\n")]
        check = step.check(env, value) if checked else None
        if check is not None:
            pieces.append(Piece(check.text + "\n"))
    env[step.name] = value
    return pieces


def _write_with_late_correction(program: Program, mistakes: Mapping[int, str]) -> list[Piece] | None:
    """All steps with the first mistake carried through, the check that fails, and all steps again.

    None if there is no mistake, a value leaves its range, or the check does not catch it.
    """
    if not mistakes:
        return None
    number, wrong = next(iter(mistakes.items()))
    # Only values that the step's own check can parse are carried on: a model's own mistakes may not be values at all.
    env: Env = {}
    for step in program.steps[:number]:
        env[step.name] = step.value(env) or ""
    caught = program.steps[number].check(env, wrong)
    if caught is None or caught.ok:
        return None
    env = {}
    right: list[str] = []
    carried: list[str] = []
    for i, step in enumerate(program.steps):
        value = wrong if i == number else step.value(env)
        if value is None:
            return None
        line = step.head(env)
        if i < number:
            right.append(f"{line} {value}\n")
        else:
            carried += [line, f" {value}\n"] if i == number else [f"{line} {value}\n"]
        env[step.name] = value
    final = program.final_check(env)
    if final is None or final.ok:
        return None
    again: Env = {}
    for step in program.steps:
        again[step.name] = step.value(again) or ""
    redone = "".join(f"{step.head(again)} {again[step.name]}\n" for step in program.steps)
    good = program.final_check(again)
    assert good is not None, "a right solution has no check"
    assert good.ok, "the check of a right solution fails"
    return [
        *(Piece(line) for line in right),
        Piece(carried[0]),
        Piece("".join(carried[1:]), loss=False),
        Piece(f"{final.text}\nwait, redo:\n{redone}{good.text}\n"),
    ]
