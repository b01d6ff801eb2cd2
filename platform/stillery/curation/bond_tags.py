"""Bond tags: a line in front of a training question that names the bonds of the trace behind it.

    [bonds: reflect 1, explore 0]

states how many steps of the trace return to an earlier one to check it, and how many try something that is not entailed
yet. A student trained on tagged questions learns the corresponding traces, and can be prompted for one; if only a share
of its questions are tagged, it answers untagged ones as before.
"""

import dataclasses
import re
from collections.abc import Sequence

from stillery.records import BondKind, Message, Molecule, Sample, digest

# Larger counts become `3+`: a small student need not count.
MOST = 3
# The categories of training samples in the summary.
TAGGED, WITHOUT_TAG = "with_tag", "without_tag"

_TAG = re.compile(r"\[bonds: reflect (?:\d|3\+), explore (?:\d|3\+)\]\n")
_SCALE = 2**32


def bond_tag(*, reflecting: int, exploring: int) -> str:
    """The tag line, including its line break, for these numbers of steps of each kind."""
    return f"[bonds: reflect {_written(reflecting)}, explore {_written(exploring)}]\n"


def tag_of(molecule: Molecule | None) -> str | None:
    """The tag of a trace; None for one that could not be analysed."""
    if molecule is None or molecule.error is not None or not molecule.atoms:
        return None
    return bond_tag(
        reflecting=len({bond.target for bond in molecule.bonds if bond.kind == BondKind.REFLECTION}),
        exploring=len({bond.target for bond in molecule.bonds if bond.kind == BondKind.EXPLORATION}),
    )


def tagged(sample: Sample, molecule: Molecule | None, *, share: float, seed: int) -> Sample:
    """The sample with its tag in front of the question, if it is among the `share` of tagged ones."""
    tag = tag_of(molecule)
    if tag is None or int(digest("bond tag", seed, sample.sample_id)[:8], 16) >= share * _SCALE:
        return sample
    return dataclasses.replace(sample, prompt=with_tag(sample.prompt, tag))


def is_tagged(sample: Sample) -> bool:
    """Whether a sample's question begins with a tag."""
    return _TAG.match(sample.prompt[-1].content) is not None


def with_tag(prompt: Sequence[Message], tag: str) -> list[Message]:
    """A conversation whose last question begins with a tag."""
    *before, question = prompt
    return [*before, Message(question.role, tag + question.content)]


def without_tag(text: str) -> str:
    """A question without its tag."""
    return _TAG.sub("", text, count=1) if _TAG.match(text) else text


def _written(count: int) -> str:
    return f"{MOST}+" if count > MOST - 1 else str(count)
