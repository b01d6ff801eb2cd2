"""There is one acceptance rule: the teacher stops at what curation keeps, and its fields enter every fingerprint."""

import dataclasses
import random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stillery.config import Config, CurateConfig
from stillery.curation.choosing import choose
from stillery.metrics import StoppingRule
from stillery.pipeline.order import STAGES
from stillery.records import Generation, Verdict
from stillery.sampling.best_of_n import BestOfN
from stillery.verify.acceptance import Acceptance

# What a sample says, its verdict, how it fits the template, and its flags.
SAMPLES = st.tuples(
    st.sampled_from(["x", "x ", "y", "z"]),
    st.sampled_from(["correct", "wrong", "unchecked"]),
    st.sampled_from(["ok", "no_think"]),
    st.sampled_from([[], ["repetition"]]),
)
RULES = st.builds(
    CurateConfig,
    max_per_prompt=st.just(99),
    require_template=st.booleans(),
    deduplicate=st.booleans(),
    drop_flags=st.sampled_from([[], ["repetition"]]),
)


def row_of(index: int, sample: tuple[str, str, str, list[str]]) -> tuple[Generation, Verdict]:
    text, kind, template, flags = sample
    generation = Generation(
        f"s{index}", "p", index, 0, "q", text, "stop", 1, 5, -0.1, "T", "{}", 0, False, None
    )  # fmt: skip
    return generation, Verdict(f"s{index}", "p", "t", "1", "1", kind, template, flags, None)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(RULES, st.lists(SAMPLES, min_size=1, max_size=12), st.integers(1, 4), st.integers(0, 3), st.integers(0, 99))
def test_curation_keeps_just_what_the_teacher_stopped_at(
    config: CurateConfig, samples: list[tuple[str, str, str, list[str]]], wanted: int, lookahead: int, seed: int
) -> None:
    rows = [row_of(index, sample) for index, sample in enumerate(samples)]
    rule = Acceptance.of(config)
    best_of = BestOfN(num_samples=len(rows), target_accepted=wanted, lookahead=lookahead)
    rng, running = random.Random(seed), best_of.launch()
    while running:
        generation, verdict = rows[running.pop(rng.randrange(len(running)))]
        is_fit = rule.why_dropped(verdict) is None
        key = rule.key(sample_id=generation.sample_id, completion=generation.completion) if is_fit else None
        best_of.finish(generation.sample_index, key=key)
        running += best_of.launch()
    kept, _ = choose(config, rows[: best_of.num_needed], stopping=StoppingRule(len(rows), wanted))
    assert len(kept) <= wanted
    assert len(kept) == wanted or best_of.num_needed == len(rows), "it stopped before enough were accepted"
    assert len(kept) < wanted or kept[-1].sample_index == best_of.num_needed - 1, "it went on after enough"


def generate_settings(**curate: Any) -> dict[str, Any]:
    (stage,) = (stage for stage in STAGES if stage.name == "generate")
    config = Config()
    config.prompts.source = "tasks"
    config.teacher.accepted_per_prompt = 2
    config.curate = CurateConfig(**curate)
    return stage.settings(config)


@pytest.mark.parametrize(
    "changed", [{"require_template": False}, {"drop_flags": ["repetition"]}, {"deduplicate": False}]
)
def test_every_field_of_the_rule_is_in_the_fingerprint_of_a_generation_that_stops_by_it(
    changed: dict[str, Any],
) -> None:
    assert set(changed) <= {field.name for field in dataclasses.fields(Acceptance)}
    assert generate_settings(**changed) != generate_settings()


def test_what_only_curation_does_is_not_in_the_fingerprint_of_generation() -> None:
    assert generate_settings(max_per_prompt=1, min_pass_rate=0.5) == generate_settings()
