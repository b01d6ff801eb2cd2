"""Reasoning molecules: a trace's steps (atoms) and the three kinds of bond between them. numpy and scipy;
torch for attention energies alone.

`analyze` makes the molecule of a trace; `backward_verification`, `consistency_check` and `exploration_paths` query one,
`is_unstable` compares it with a threshold. `attention_energy` reads the energy of its bonds from a loaded model,
`reinforce` inserts checks into a trace whose firm transitions nothing checks, `label_molecules` has a language model
label the kind of each bond.
"""

from stillery.bonds.analysis import analyze
from stillery.bonds.claims.reinforcement import reinforce
from stillery.bonds.measure.attention import attention_energy
from stillery.bonds.measure.checking import backward_verification, consistency_check, exploration_paths
from stillery.bonds.measure.stability import is_unstable
from stillery.bonds.model.labelling import label_molecules

__all__ = [
    "analyze",
    "attention_energy",
    "backward_verification",
    "consistency_check",
    "exploration_paths",
    "is_unstable",
    "label_molecules",
    "reinforce",
]
