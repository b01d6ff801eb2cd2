"""From the text of a trace to its reasoning molecule."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from stillery.bonds.claims.claims import Located, find_claims
from stillery.bonds.claims.evidence import find_evidence
from stillery.bonds.claims.reading import Step, read_steps
from stillery.bonds.measure.answers import find_answer_conflicts
from stillery.bonds.measure.conflicts import Conflict, find_conflicts
from stillery.bonds.measure.stability import Parts, measure
from stillery.bonds.model.bonding import Labels, Structure, find_bonds, relabel
from stillery.bonds.steps.segmentation import Span, segment
from stillery.records import Atom, Claim, Molecule


@dataclass(frozen=True, slots=True)
class Dissection:
    """A molecule with its intermediate results: the steps, the bonds and checks found without markers, the conflicts,
    and the parts of the stability."""

    molecule: Molecule
    steps: list[Step]
    plain: Structure
    conflicts: list[Conflict]
    parts: Parts


def analyze(
    text: str,
    *,
    question: str | None = None,
    answer: str | None = None,
    markers: bool = True,
    labels: Labels | None = None,
    sample_id: str = "",
    inserted: Sequence[tuple[int, int]] = (),
) -> Molecule:
    """The molecule of one trace. Never raises on a model's text, and takes time linear in its length.

    With `question` claims are tested against its statements, with `answer` the trace's answer against the right one.
    With `markers=False` words such as "wait" are ignored. `labels` (from a language model, for example) override the
    kind of each bond. `inserted` are the spans that reinforcement added; their steps are marked. Stability and conflict
    depend on neither markers nor labels.
    """
    return dissect(
        text,
        question=question,
        answer=answer,
        markers=markers,
        labels=labels,
        sample_id=sample_id,
        inserted=inserted,
    ).molecule


def dissect(
    text: str,
    *,
    question: str | None = None,
    answer: str | None = None,
    markers: bool = True,
    labels: Labels | None = None,
    sample_id: str = "",
    inserted: Sequence[tuple[int, int]] = (),
) -> Dissection:
    """`analyze`, with the molecule's intermediate results."""
    spans = segment(text)
    steps = read_steps(text, spans, question=question or "")
    claims = find_claims(steps, question=question or "", answer=answer)
    evidence = find_evidence(steps, text, question=question or "")
    raw = [text[span.start : span.end] for span in spans]
    plain = find_bonds(raw, evidence, markers=False)
    shown = find_bonds(raw, evidence) if markers else plain
    bonds = shown.bonds if labels is None else relabel(shown.bonds, raw, labels)
    conflicts = find_conflicts(steps, claims, plain.checks, question=question or "")
    conflicts += find_answer_conflicts(steps, claims, question or "")
    conflict = sum(c.weight for c in conflicts)
    parts = measure(
        steps,
        plain.support,
        checks=plain.checks,
        claims=claims,
        conflicts=conflicts,
        derived=evidence.derived,
        question=question or "",
    )
    total = round(sum(bond.strength for bond in bonds) - conflict, 6)
    atoms = _atoms(text, spans, steps, claims, inserted)
    molecule = Molecule(sample_id, atoms, bonds, conflict, parts.stability, total, [])
    return Dissection(molecule, steps, plain, conflicts, parts)


def _atoms(
    text: str,
    spans: Sequence[Span],
    steps: Sequence[Step],
    claims: Sequence[Located],
    inserted: Sequence[tuple[int, int]],
) -> list[Atom]:
    by_step: dict[int, list[Claim]] = defaultdict(list)
    for entry in claims:
        by_step[entry.step].append(entry.claim)
    added = sorted(inserted)
    atoms: list[Atom] = []
    at = 0
    for index, span in enumerate(spans):
        while at < len(added) and added[at][1] <= span.start:
            at += 1
        is_inserted = at < len(added) and added[at][0] <= span.start and span.end <= added[at][1]
        kind = "answer" if steps[index].is_answer else span.kind
        atoms.append(Atom(span.start, span.end, text[span.start : span.end], kind, by_step[index], is_inserted))
    return atoms
