"""Inserts verification steps into a trace after firm transitions that nothing verified.

A transition is a strong-logic bond above 0.9: a step that continues from a value or a state that another step computed.
If no later step checks its result by another route, a check is inserted right after it: computed where the step is
arithmetic (undone, or substituted into the equation that it solves), else written by a teacher. A check stays only if
the analyzer itself finds that it verifies that very step, that no other step is read differently because of it, and
that stability does not fall. So an inserted check counts as a check the next time, and a second run inserts nothing.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import takewhile

from stillery.bonds.analysis import Dissection, dissect
from stillery.bonds.claims.reading import Step
from stillery.bonds.claims.routes import find_routes
from stillery.records import BondKind, Molecule

FIRM = 0.9
_MAX_WRITTEN_CHARS = 600
_MAX_TRIES = 4


@dataclass(frozen=True, slots=True)
class CheckRequest:
    """A check for a teacher to write: of `step`, the last of `before`, in the trace of `question`.

    `evidence` describes the transition to check.
    """

    sample_id: str
    question: str | None
    before: str
    step: str
    evidence: str


# The requests of one trace -> a verification step for each, "" for none.
Write = Callable[[Sequence[CheckRequest]], Sequence[str]]


@dataclass(frozen=True, slots=True)
class Reinforced:
    """The new trace and its molecule. `inserted` are the spans of all inserted steps of the new text, including those
    that the trace already had; `num_computed` and `num_written` count this run's insertions, `unchecked` the steps (of
    the new molecule) after firm transitions that are still unchecked."""

    text: str
    molecule: Molecule
    inserted: list[tuple[int, int]]
    num_computed: int
    num_written: int
    unchecked: list[int]


@dataclass(frozen=True, slots=True)
class _Check:
    """A step to insert after step `after`."""

    after: int
    text: str
    is_written: bool


@dataclass(frozen=True, slots=True)
class _Trace:
    """The original trace, dissected; `inserted` as in Reinforced."""

    text: str
    question: str | None
    answer: str | None
    sample_id: str
    inserted: Sequence[tuple[int, int]]
    found: Dissection


def reinforce(
    text: str,
    *,
    question: str | None = None,
    answer: str | None = None,
    sample_id: str = "",
    inserted: Sequence[tuple[int, int]] = (),
    write: Write | None = None,
    above: float = FIRM,
) -> Reinforced:
    """Check the transitions of a trace that are firmer than `above` and have no check yet.

    `inserted` are spans that an earlier run inserted. Without `write` only arithmetic is checked. The molecule is that
    of `analyze(text, markers=False)` on the new text.
    """
    found = dissect(
        text, question=question, answer=answer, markers=False, sample_id=sample_id, inserted=tuple(inserted)
    )
    trace = _Trace(text, question, answer, sample_id, tuple(inserted), found)
    wanted = unchecked_steps(found, above=above)
    kept: list[_Check] = []
    routes = {step: find_routes(found.steps, step, text, question) for step in wanted}
    for attempt in range(_MAX_TRIES):
        done = {check.after for check in kept}
        tried = [
            _Check(step, _dress(found.steps[step], text, ways[attempt]), False)
            for step, ways in routes.items()
            if step not in done and attempt < len(ways)
        ]
        kept = _accept(trace, kept, tried)
    left = [step for step in wanted if step not in {check.after for check in kept}]
    if write is not None and left:
        kept = _accept(trace, kept, _written(trace, left, write, above=above))
    new_text, spans = _insert(trace, kept)
    made = dissect(new_text, question=question, answer=answer, markers=False, sample_id=sample_id, inserted=spans)
    num_written = sum(check.is_written for check in kept)
    still = unchecked_steps(made, above=above)
    return Reinforced(new_text, made.molecule, spans, len(kept) - num_written, num_written, still)


def unchecked_steps(found: Dissection, *, above: float = FIRM) -> list[int]:
    """The steps after a firm transition that no later step checks by another route.

    Excluded are steps that check something themselves, answers, and false steps: the first are checks, the second
    conclude nothing new, and the third cannot be verified.
    """
    bonds, atoms = found.molecule.bonds, found.molecule.atoms
    firm = {b.target for b in found.plain.support if b.origin == "claims" and b.strength > above}
    checked = {check.source for check in found.plain.checks if check.verifies is True}
    checking = {b.target for b in bonds if b.kind == BondKind.REFLECTION}
    return [
        index
        for index in sorted(firm - checked - checking)
        if not atoms[index].inserted
        and not found.steps[index].is_answer
        and not any(claim.holds is False for claim in atoms[index].claims)
    ]


def _dress(step: Step, text: str, statement: str) -> str:
    """A check in the trace's own form: a line among lines, a sentence among sentences."""
    body = text[step.start : step.end]
    shown = statement.replace("*", "×").replace("/", "÷") if "×" in body or "÷" in body else statement
    if any("\u4e00" <= c <= "\u9fff" for c in body):
        return f"检验：{shown}。"
    is_bare_line = body.endswith("\n") and body.rstrip()[-1:].isalnum()
    return f"check: {shown}, ok" if is_bare_line and not body.lstrip()[:1].isupper() else f"Check: {shown}."


def _written(trace: _Trace, steps: Sequence[int], write: Write, *, above: float) -> list[_Check]:
    """The teacher's checks for the steps that no computation checks."""
    atoms = trace.found.molecule.atoms
    evidence = {b.target: b.evidence for b in trace.found.plain.support if b.origin == "claims" and b.strength > above}
    requests = [
        CheckRequest(trace.sample_id, trace.question, trace.text[: atoms[i].end], atoms[i].text.strip(), evidence[i])
        for i in steps
    ]
    replies = write(requests)
    if len(replies) != len(requests):
        raise ValueError(f"{len(requests)} checks were asked for, {len(replies)} came back")
    bodies = [" ".join(reply.split()) for reply in replies]
    return [
        _Check(step, body, True)
        for step, body in zip(steps, bodies, strict=True)
        if 0 < len(body) <= _MAX_WRITTEN_CHARS
    ]


def _accept(trace: _Trace, kept: Sequence[_Check], tried: Sequence[_Check]) -> list[_Check]:
    """The checks kept so far, with as many of the new ones as can join them: all that verify at once if possible, else
    the same for either half."""
    while tried:
        failed = _failures(trace, [*kept, *tried])
        if failed is not None and not failed:
            return [*kept, *tried]
        if failed is None or failed & set(kept):
            break
        tried = [check for check in tried if check not in failed]
    if len(tried) < 2:
        return list(kept)
    middle = len(tried) // 2
    return _accept(trace, _accept(trace, kept, tried[:middle]), tried[middle:])


def _failures(trace: _Trace, checks: Sequence[_Check]) -> set[_Check] | None:
    """The checks that do not verify their step; None where these checks harm the whole trace: one of its own steps is
    read differently, stability falls or conflict rises."""
    new_text, spans = _insert(trace, checks)
    made = dissect(new_text, question=trace.question, answer=trace.answer, markers=False, inserted=spans)
    before, after = trace.found.molecule, made.molecule
    own = [i for i, atom in enumerate(before.atoms) if not atom.inserted]
    places = [i for i, atom in enumerate(after.atoms) if not atom.inserted]
    if [after.atoms[i].text.strip() for i in places] != [before.atoms[i].text.strip() for i in own]:
        return None
    where = dict(zip(own, places, strict=True))
    verified = {(check.source, check.target) for check in made.plain.checks if check.verifies is True}
    failed: set[_Check] = set()
    for check in checks:
        step = where[check.after]
        added = takewhile(lambda i: after.atoms[i].inserted, range(step + 1, len(after.atoms)))
        targets = list(added)
        is_false = any(claim.holds is False for i in targets for claim in after.atoms[i].claims)
        if is_false or not any((step, target) in verified for target in targets):
            failed.add(check)
    is_worse = after.stability < before.stability or after.conflict > before.conflict
    return None if is_worse and not failed else failed


def _insert(trace: _Trace, checks: Sequence[_Check]) -> tuple[str, list[tuple[int, int]]]:
    """The text with the checks inserted, and the spans of all its inserted steps."""
    atoms = trace.found.molecule.atoms
    parts: list[str] = []
    spans: list[tuple[int, int]] = []
    position = written = 0
    known = sorted(trace.inserted)
    ordered = sorted(checks, key=lambda check: check.after)
    for check in ordered:
        end = atoms[check.after].end
        piece = trace.text[position:end]
        joint, tail = _joints(trace.text, atoms[check.after].start, end)
        spans += [(a - position + written, b - position + written) for a, b in known if position <= a < end]
        start = written + len(piece) + len(joint)
        spans.append((start, start + len(check.text) + len(tail)))
        parts += [piece, joint, check.text, tail]
        written = spans[-1][1]
        position = end
    spans += [(a - position + written, b - position + written) for a, b in known if a >= position]
    return "".join([*parts, trace.text[position:]]), sorted(spans)


def _joints(text: str, start: int, end: int) -> tuple[str, str]:
    """The separators between a step and the check after it, and between the check and the next text."""
    body = text[start:end]
    blank = body[len(body.rstrip()) :]
    if "\n" in blank:
        return "", "\n"
    if end >= len(text):
        return ("\n" if "\n" in text else " "), ""
    return ("", " ") if blank else (" ", " ")
