"""The interactive page: one molecule, or two side by side, as one self-contained HTML document.

It loads nothing and works from a file. The trace's texts are hostile input: they are embedded as JSON in a data block,
with every character that could end it escaped, and the script puts them on the page as text, never as markup. A content
security policy allows this one script, by its hash, and nothing else, so that no text could load or run anything even
if the escaping failed.
"""

import base64
import hashlib
import math
from collections.abc import Sequence
from importlib import resources
from typing import Any

from stillery.bonds.draw.force import force_positions
from stillery.bonds.draw.layout import state_of, summarize
from stillery.records import Atom, BondKind, Molecule
from stillery.templating import make_environment

KINDS = tuple(BondKind)
# One script on the page, in this order.
SCRIPTS = ("page_dom.js", "page_layout.js", "page_view.js", "page.js")


def molecule_page(
    molecules: Sequence[tuple[str, Molecule]],
    *,
    title: str = "Reasoning molecule",
    question: str | None = None,
    layout: str = "arcs",
) -> str:
    """The page of one or two (name, molecule) pairs, such as a teacher's and its student's for one question.

    It opens with `layout`, arcs or force, and a button switches to the other. Raises ValueError for another number of
    molecules, or one without atoms.
    """
    if len(molecules) not in (1, 2):
        raise ValueError(f"the page shows one molecule, or two side by side; got {len(molecules)}")
    for name, molecule in molecules:
        if not molecule.atoms:
            raise ValueError(f"molecule {name!r} has no atoms: there is nothing to show")
    page = (
        make_environment("stillery.bonds.draw")
        .get_template("page.html")
        .render(
            policy=policy_of(),
            style=_asset("page.css"),
            script=_script(),
            title=title,
            question=question,
            layout=layout,
            molecules=[_data(name, molecule) for name, molecule in molecules],
        )
    )
    # Half a surrogate pair, which a tokenizer may leave behind, cannot be encoded in UTF-8.
    return page.encode("utf-8", "replace").decode()


def policy_of() -> str:
    """The page's content security policy, which a response header may repeat."""
    return (
        f"default-src 'none'; script-src 'sha256-{_sha256(_script())}'; style-src 'unsafe-inline'; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )


def _script() -> str:
    return "\n".join(map(_asset, SCRIPTS))


def _asset(name: str) -> str:
    return resources.files("stillery.bonds.draw").joinpath(name).read_text(encoding="utf-8")


def _sha256(script: str) -> str:
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


def _data(name: str, molecule: Molecule) -> dict[str, Any]:
    """The script's data of a molecule; kinds are indices into KINDS."""
    energies = molecule.energies or [math.nan] * len(molecule.bonds)
    return {
        "name": name,
        "summary": summarize(molecule),
        "atoms": [_atom(atom) for atom in molecule.atoms],
        "places": force_positions(molecule),
        "bonds": [
            {
                "source": bond.source,
                "target": bond.target,
                "kind": KINDS.index(BondKind(bond.kind)),
                "strength": bond.strength,
                "origin": bond.origin,
                "evidence": bond.evidence,
                "energy": energy if math.isfinite(energy) else None,
            }
            for bond, energy in zip(molecule.bonds, energies, strict=True)
        ],
    }


def _atom(atom: Atom) -> dict[str, Any]:
    false = [claim for claim in atom.claims if claim.holds is False]
    return {
        "text": atom.text,
        "kind": atom.kind,
        "state": state_of(atom),
        "inserted": atom.inserted,
        "false": [{"text": claim.text, "by": claim.corrected_by} for claim in false],
        "true": [claim.text for claim in atom.claims if claim.holds],
    }
