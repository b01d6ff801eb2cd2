"""The sources that the claims of a sample's trace rest on. In: the sample's text. Out: the sources that may be attended
to, and for each operand of a claim the shares of those that its step's bonds and the question name. Pure, and
independent of any model's tokens.

An operand is a number left of a claim's relation (the value itself where there is none), or a word of a state or an
answer. One that already occurred in its own step has no row: it comes from there.
"""

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stillery.bonds.analysis import analyze
from stillery.bonds.steps.segmentation import segment
from stillery.curation.bond_tags import without_tag
from stillery.records import AttentionSource, Bond, BondKind, Claim, Molecule, Sample

Floats = NDArray[np.float64]

_WORD = re.compile(r"\d[\d,]*(?:\.\d+)?|[^\W\d_]+")
_RELATION = re.compile(r"[=≈≠<>≤≥]")
_SPOKEN = ("state", "answer")


@dataclass(frozen=True, slots=True)
class Operand:
    """Characters of the completion that a claim rests on. `shares` are those of the first sources, which lie before its
    step, and sum to 1; `is_named` means that those sources contain the operand, rather than that its step is only
    bonded to them."""

    start: int
    end: int
    shares: Floats
    is_named: bool


@dataclass(frozen=True, slots=True)
class Draft:
    """The sources of a sample, the question's sentences first, and the operands that rest on them, in order."""

    sources: list[AttentionSource]
    operands: list[Operand]
    question_length: int

    def distance(self, operand: Operand) -> tuple[Floats, Floats]:
        """For each source before an operand: the number of characters between the two (from the source's middle), and
        its length. The question counts as if it stood right before the completion."""
        before = self.sources[: len(operand.shares)]
        shift = np.array([self.question_length if s.of_question else 0 for s in before])
        starts, ends = np.array([s.start for s in before]) - shift, np.array([s.end for s in before]) - shift
        return np.maximum(1.0, operand.start - (starts + ends) / 2), np.maximum(1.0, ends - starts)


def texts_of(sample: Sample) -> tuple[str, str]:
    """The question, without a bond tag, and the completion: the texts that a target's positions refer to."""
    asked = [message.content for message in sample.prompt if message.role == "user"]
    return without_tag(asked[-1]) if asked else "", "".join(message.content for message in sample.completion)


def draft(sample: Sample) -> Draft:
    """The sources and operands of a sample. Takes time linear in the length of the trace, except for its claims'
    words."""
    question, completion = texts_of(sample)
    molecule = analyze(completion, question=question, markers=False)
    of_question = [s for s in segment(question) if question[s.start : s.end].strip()]
    sources = [AttentionSource(s.start, s.end, of_question=True) for s in of_question]
    sources += [AttentionSource(a.start, a.end, of_question=False) for a in molecule.atoms]
    said = [_said(question[s.start : s.end]) for s in of_question] + [_said(a.text) for a in molecule.atoms]
    operands = list(_operands(completion, molecule, said, num_sentences=len(of_question)))
    return Draft(sources, operands, len(question))


def _operands(text: str, molecule: Molecule, said: Sequence[set[str]], *, num_sentences: int) -> Iterator[Operand]:
    into: dict[int, list[Bond]] = defaultdict(list)
    for bond in molecule.bonds:
        if bond.kind != BondKind.EXPLORATION:
            into[bond.target].append(bond)
    for index, atom in enumerate(molecule.atoms):
        num_before = num_sentences + index
        taken: set[int] = set()
        for claim in atom.claims:
            for start, end in _spans(text, claim):
                word = _plain(text[start:end])
                if num_before < 2 or start in taken or word in _said(text[atom.start : start]):
                    continue
                taken.add(start)
                found = _shares(word, into[index], said[:num_before], num_sentences=num_sentences)
                if found is not None:
                    yield Operand(start, end, *found)


def _spans(text: str, claim: Claim) -> Iterator[tuple[int, int]]:
    """The characters of a claim's operands."""
    numbers_only, end = claim.kind not in _SPOKEN, claim.end
    if numbers_only:
        relation = _RELATION.search(text, claim.start, claim.end)
        if relation is not None and any(c.isdigit() for c in text[claim.start : relation.start()]):
            end = relation.start()
    for match in _WORD.finditer(text, claim.start, end):
        if not numbers_only or match.group()[0].isdigit():
            yield match.span()


def _shares(
    word: str, bonds: Sequence[Bond], said: Sequence[set[str]], *, num_sentences: int
) -> tuple[Floats, bool] | None:
    """The sources of an operand: by strength, the steps bonded to its step that contain it; else, with equal
    shares, the question's sentences that contain it; else, not named, all steps bonded to its step. None where
    there are none."""
    shares = np.zeros(len(said))
    for bond in bonds:
        if word in said[num_sentences + bond.source]:
            shares[num_sentences + bond.source] = bond.strength
    if not shares.any():
        shares[:num_sentences] = [word in sentence for sentence in said[:num_sentences]]
    is_named = bool(shares.any())
    if not is_named:
        for bond in bonds:
            shares[num_sentences + bond.source] = bond.strength
    return (shares / shares.sum(), is_named) if shares.any() else None


def _said(text: str) -> set[str]:
    return {_plain(match.group()) for match in _WORD.finditer(text)}


def _plain(word: str) -> str:
    return word.replace(",", "").casefold()
