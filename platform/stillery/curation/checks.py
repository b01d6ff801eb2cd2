"""Checks of the curation settings before anything is sampled."""

from stillery.config import Config, suggest
from stillery.curation.choosing import load_filters
from stillery.curation.rules import check_rules
from stillery.curation.screening import read_evaluation_sets
from stillery.errors import UserError
from stillery.verify.readability import FLAGS

PARTS = ("reasoning", "general")
BALANCED = ("task", "length", "difficulty", "teacher")


def check_curation(config: Config) -> None:
    """Raise UserError for an unknown flag, rule, part or kind of bond, a set that cannot be read, a missing filter, or
    a similarity bound out of range."""
    curate = config.curate
    unknown = [flag for flag in curate.drop_flags if flag not in FLAGS]
    if unknown:
        raise UserError(f"curate.drop_flags: no flag {unknown[0]!r}{suggest(unknown[0], FLAGS)}")
    check_rules(curate.rules, target_pattern=curate.target_pattern, bonds=config.bonds.enabled)
    if not 0 <= curate.bond_weight <= 1:
        raise UserError(f"curate.bond_weight is {curate.bond_weight}; a share lies between 0 and 1")
    if not 0 <= curate.bond_tags <= 1:
        raise UserError(f"curate.bond_tags is {curate.bond_tags}; a share lies between 0 and 1")
    for key, is_set in (
        ("mask_corrected", curate.mask_corrected),
        ("bond_weight", curate.bond_weight > 0),
        ("bond_tags", curate.bond_tags > 0),
    ):
        if is_set and not config.bonds.enabled:
            raise UserError(f"curate.{key} needs molecules; set bonds.enabled=true or leave it out")
    for key, bound in (
        ("near_duplicate_prompts", curate.near_duplicate_prompts),
        ("near_duplicate_traces", curate.near_duplicate_traces),
        ("decontaminate.fuzzy", curate.decontaminate.fuzzy),
    ):
        if bound is not None and not 0 < bound <= 1:
            raise UserError(f"curate.{key} is {bound}; a similarity lies above 0 and is at most 1")
    if curate.decontaminate.ngram < 5:
        raise UserError(f"curate.decontaminate.ngram is {curate.decontaminate.ngram}; below 5 words every text matches")
    parts = [part for part in curate.mixture if part not in PARTS]
    if parts:
        raise UserError(f"curate.mixture: no part {parts[0]!r}{suggest(parts[0], PARTS)}")
    for key, shares in (("mixture", curate.mixture), ("sources", curate.sources)):
        if shares and not (sum(shares.values()) > 0 and min(shares.values()) >= 0):
            raise UserError(
                f"curate.{key}: shares must not be negative, and not all be 0; such as {{reasoning: 0.8, general: 0.2}}"
            )
    for axis, exponent in curate.balance.items():
        if axis not in BALANCED:
            raise UserError(f"curate.balance: no groups by {axis!r}{suggest(axis, BALANCED)}")
        if not 0 <= exponent <= 1:
            raise UserError(f"curate.balance.{axis} is {exponent}; it must lie between 0 (all equal) and 1 (as is)")
    if "teacher" in curate.balance and curate.sources:
        raise UserError("curate.balance.teacher and curate.sources both say how much of each teacher stays; unset one")
    if curate.mixture_by not in ("samples", "tokens"):
        raise UserError(f"curate.mixture_by is {curate.mixture_by!r}; it must be samples or tokens")
    load_filters(curate.filters)
    read_evaluation_sets(curate.decontaminate)
