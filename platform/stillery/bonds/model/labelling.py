"""Molecules whose bonds are labelled by a language model.

The model sees the numbered steps and the pairs of steps that the analyzer bonds, and gives each pair a kind, or none.
Its reply is parsed strictly: one line per pair, nothing left out, nothing else; a malformed one is sent back with its
errors. The model is behind one interface, `Complete`; labels are cached on disk as they come.
"""

import json
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from stillery.bonds.analysis import analyze
from stillery.bonds.claims.memory import shorten
from stillery.bonds.model.bonding import relabel
from stillery.errors import UserError
from stillery.records import BondKind, Message, Molecule, digest

# Raised whenever the prompt changes in meaning, so that older labels are never reused for it.
PROMPT_VERSION = 1

# Conversations -> the model's reply to each.
Complete = Callable[[Sequence[Sequence[Message]]], Sequence[str]]
Pair = tuple[int, int]
Kinds = list[BondKind | None]

_PAIRS_PER_REQUEST = 40
_REQUESTS_PER_CALL = 64
_STEP_CHARS = 500
_WORDS: dict[str, BondKind | None] = {
    "derives": BondKind.STRONG_LOGIC,
    "checks": BondKind.REFLECTION,
    "explores": BondKind.EXPLORATION,
    "none": None,
}
_LINE = re.compile(r"(\d{1,6})\s*->\s*(\d{1,6})\s*:\s*(derives|checks|explores|none)\.?", re.IGNORECASE)
_WRAPPING = re.compile(r"^\s*(?:```\w*|</?answer>)?\s*$", re.IGNORECASE)
_INSTRUCTIONS = """\
Below are steps of a reasoning trace, numbered, and pairs of them. Say of each pair (A -> B, A is the earlier) what \
step B does with step A:
- derives: B follows from A; it uses a value, statement or state that A established.
- checks: B returns to A; it recomputes, undoes, substitutes, tests, doubts, withdraws or goes over what A said.
- explores: B tries something that A does not entail: another case, reading or method.
- none: B does nothing with A.
Judge by what the steps do. Words like "wait" alone decide nothing.
Reply with one line for each pair, in the form `A -> B: kind`, and nothing else."""


class MalformedReplyError(ValueError):
    """A reply that does not label exactly the requested pairs."""


@dataclass(frozen=True, slots=True)
class LabelTask:
    """A trace to label."""

    sample_id: str
    text: str
    question: str | None = None


@dataclass(frozen=True, slots=True)
class Labelled:
    """The molecules, in the order of the tasks. A trace whose replies stayed malformed keeps the analyzer's own bonds,
    and its sample_id is in `failed`, with the error. The counts are of requests."""

    molecules: list[Molecule]
    failed: dict[str, str]
    num_cached: int
    num_asked: int


@dataclass(frozen=True, slots=True)
class _Part:
    """The pairs of one request: of task `task`, under `key` in the cache."""

    task: int
    key: str
    pairs: tuple[Pair, ...]
    messages: tuple[Message, ...]


class LabelCache:
    """Labels on disk, one line of JSON per request, appended and flushed as they come. A line truncated by a crash is
    removed; any other damage raises UserError."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._known: dict[str, Kinds] = {}
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            data = path.read_bytes() if path.exists() else b""
            whole = data[: data.rfind(b"\n") + 1]
            if len(whole) < len(data):
                os.truncate(path, len(whole))
        except OSError as error:
            raise UserError(f"label cache {path}: {error.strerror}") from None
        for number, line in enumerate(whole.splitlines(), start=1):
            try:
                row = json.loads(line)
                self._known[row["key"]] = [None if kind is None else BondKind(kind) for kind in row["kinds"]]
            except (ValueError, KeyError, TypeError):
                raise UserError(f"label cache {path}, line {number} is damaged; delete that line or the file") from None

    def __len__(self) -> int:
        return len(self._known)

    def get(self, key: str) -> Kinds | None:
        return self._known.get(key)

    def put(self, key: str, kinds: Kinds) -> None:
        """Store labels; they are on disk when this returns."""
        self._known[key] = kinds
        line = json.dumps({"key": key, "kinds": kinds}, separators=(",", ":")) + "\n"
        try:
            with self._path.open("ab") as file:
                file.write(line.encode())
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise UserError(f"label cache {self._path}: {error.strerror}") from None


def label_molecules(
    tasks: Sequence[LabelTask], *, complete: Complete, labeller: str, cache: LabelCache | None = None, attempts: int = 3
) -> Labelled:
    """The molecules of traces, with the kinds of bonds labelled by a model.

    `labeller` names the model and its sampling settings; it is part of the cache's keys, as are the trace and the
    version of the prompt. A malformed reply is requested again, up to `attempts` in all.
    """
    molecules = [analyze(t.text, question=t.question, sample_id=t.sample_id) for t in tasks]
    parts = [part for i, task in enumerate(tasks) for part in _parts(i, task, molecules[i], labeller)]
    known: dict[str, Kinds] = {}
    if cache is not None:
        known = {part.key: kinds for part in parts if (kinds := cache.get(part.key)) is not None}
    missing = [part for part in {p.key: p for p in parts}.values() if part.key not in known]
    wrong: dict[str, str] = {}
    for start in range(0, len(missing), _REQUESTS_PER_CALL):
        chosen = missing[start : start + _REQUESTS_PER_CALL]
        wrong |= _ask(chosen, known, complete=complete, cache=cache, attempts=attempts)
    failed = {tasks[part.task].sample_id: wrong[part.key] for part in parts if part.key in wrong}
    by_task: dict[int, dict[Pair, BondKind | None]] = {}
    for part in parts:
        if part.key in known:
            by_task.setdefault(part.task, {}).update(zip(part.pairs, known[part.key], strict=True))
    labelled = [
        molecule if tasks[i].sample_id in failed else _with_kinds(molecule, by_task.get(i, {}))
        for i, molecule in enumerate(molecules)
    ]
    return Labelled(labelled, failed, len(parts) - len(missing), len(missing))


def parse_labels(reply: str, pairs: Sequence[Pair]) -> Kinds:
    """The kind of each pair, in their order. Steps are numbered from 1 in a reply, from 0 in `pairs`.

    Raises MalformedReplyError unless the reply, after any thinking, labels each pair once and holds nothing else.
    """
    wanted = set(pairs)
    found: dict[Pair, BondKind | None] = {}
    for line in reply.rpartition("</think>")[2].splitlines():
        if _WRAPPING.match(line):
            continue
        match = _LINE.fullmatch(line.strip())
        if match is None:
            raise MalformedReplyError(f'the line "{shorten(line)}" is not of the form "A -> B: kind"')
        pair = int(match[1]) - 1, int(match[2]) - 1
        if pair not in wanted or pair in found:
            state = "labelled twice" if pair in found else "not among the pairs"
            raise MalformedReplyError(f"{match[1]} -> {match[2]} is {state}")
        found[pair] = _WORDS[match[3].casefold()]
    for source, target in pairs:
        if (source, target) not in found:
            raise MalformedReplyError(f"{source + 1} -> {target + 1} has no label")
    return [found[pair] for pair in pairs]


def label_prompt(task: LabelTask, steps: Sequence[str], pairs: Sequence[Pair]) -> Message:
    """The message that requests the kinds of some pairs: the steps that they join, and those between their ends."""
    targets = [target for _, target in pairs]
    named = {step for pair in pairs for step in pair} | set(range(min(targets), max(targets) + 1))
    lines = [f"[{i + 1}] {shorten(steps[i], _STEP_CHARS)}" for i in sorted(named)]
    asked = [f"{source + 1} -> {target + 1}" for source, target in pairs]
    problem = ["Problem:", task.question, ""] if task.question else []
    return Message("user", "\n".join([_INSTRUCTIONS, "", *problem, "Steps:", *lines, "", "Pairs:", *asked]))


def _parts(index: int, task: LabelTask, molecule: Molecule, labeller: str) -> list[_Part]:
    """The requests for one trace, the pairs in the order of their later steps."""
    steps = [atom.text for atom in molecule.atoms]
    pairs = sorted({(bond.source, bond.target) for bond in molecule.bonds}, key=lambda pair: (pair[1], pair[0]))
    trace = digest("labels", PROMPT_VERSION, labeller, task.question, steps)
    requests = [tuple(pairs[start : start + _PAIRS_PER_REQUEST]) for start in range(0, len(pairs), _PAIRS_PER_REQUEST)]
    return [_Part(index, digest(trace, pairs), pairs, (label_prompt(task, steps, pairs),)) for pairs in requests]


def _ask(
    parts: Sequence[_Part], known: dict[str, Kinds], *, complete: Complete, cache: LabelCache | None, attempts: int
) -> dict[str, str]:
    """Ask until all replies are well formed or all attempts are used up; returns the errors of the last replies."""
    wrong: dict[str, str] = {}
    for _ in range(attempts):
        replies = complete([part.messages for part in parts])
        if len(replies) != len(parts):
            raise ValueError(f"{len(parts)} requests were made, {len(replies)} replies came back")
        again: list[_Part] = []
        for part, reply in zip(parts, replies, strict=True):
            try:
                known[part.key] = parse_labels(reply, part.pairs)
            except MalformedReplyError as error:
                wrong[part.key] = str(error)
                retry = f"That reply is malformed: {error}. Reply again, with one line `A -> B: kind` for each pair."
                again.append(
                    replace(part, messages=(*part.messages, Message("assistant", reply), Message("user", retry)))
                )
                continue
            wrong.pop(part.key, None)
            if cache is not None:
                cache.put(part.key, known[part.key])
        parts = again
        if not parts:
            break
    return wrong


def _with_kinds(molecule: Molecule, kinds: dict[Pair, BondKind | None]) -> Molecule:
    texts = [atom.text for atom in molecule.atoms]
    order = list(dict.fromkeys((bond.source, bond.target) for bond in molecule.bonds))
    bonds = relabel(molecule.bonds, texts, lambda _: [kinds[pair] for pair in order])
    total = round(sum(bond.strength for bond in bonds) - molecule.conflict, 6)
    return replace(molecule, bonds=bonds, stability_sum=total)
