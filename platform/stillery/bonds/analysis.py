"""The text of a trace in, its reasoning molecule out."""

from collections import defaultdict

from stillery.bonds.atoms import segment
from stillery.bonds.bonding import Labels, find_bonds, relabel
from stillery.bonds.claims import find_claims
from stillery.bonds.reading import read_steps
from stillery.bonds.similarity import Similarity
from stillery.bonds.stability import find_conflicts, normalized_stability
from stillery.records import Atom, Claim, Molecule


def analyze(
    text: str,
    *,
    question: str | None = None,
    answer: str | None = None,
    markers: bool = True,
    similarity: Similarity | None = None,
    labels: Labels | None = None,
    sample_id: str = "",
) -> Molecule:
    """The molecule of one trace. Never raises on what a model writes, and takes time linear in its length.

    `question` lets claims be tested against what it states, `answer` the answer against the right one. With
    `markers=False` words such as "wait" count for nothing. `similarity` compares two steps in place of their shared
    words; `labels` (of a language model, say) has the last word on the kind of each bond. Stability and conflict
    depend on neither markers nor labels.
    """
    spans = segment(text)
    steps = read_steps(text, spans, question=question or "")
    claims = find_claims(steps, question=question or "", answer=answer)
    plain = find_bonds(steps, text, question=question or "", similarity=similarity)
    raw = [text[span.start : span.end] for span in spans]
    shown = plain
    if markers:
        shown = find_bonds(steps, text, question=question or "", raw=raw, similarity=similarity)
    bonds = shown.bonds if labels is None else relabel(shown.bonds, raw, labels)
    conflicts = find_conflicts(steps, claims, plain.checks)
    conflict = sum(c.weight for c in conflicts)
    stability = normalized_stability(steps, plain.support, checks=plain.checks, claims=claims, conflicts=conflicts)
    by_step: dict[int, list[Claim]] = defaultdict(list)
    for entry in claims:
        by_step[entry.step].append(entry.claim)
    atoms = [
        Atom(span.start, span.end, raw[i], "answer" if steps[i].is_answer else span.kind, by_step[i], False)
        for i, span in enumerate(spans)
    ]
    total = round(sum(bond.strength for bond in bonds) - conflict, 6)
    return Molecule(sample_id, atoms, bonds, conflict, stability, total, [])
