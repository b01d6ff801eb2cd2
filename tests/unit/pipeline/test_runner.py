"""The pipeline as a user sees it before Ray starts."""

from pathlib import Path

import pytest

from stillery.errors import UserError
from stillery.metrics import TooManyFailuresError
from stillery.pipeline.order import STAGES
from stillery.pipeline.runner import run_pipeline, stages_of
from stillery.stages.stage import retry_failed
from support.small_run import small_config


def test_problems_are_made_without_ray_and_stay_when_it_cannot_be_reached(tmp_path: Path) -> None:
    config = small_config(tmp_path, "cluster.address=127.0.0.1:1")
    made = run_pipeline(config, until="prompts")["prompts"]
    with pytest.raises(UserError, match=r"Ray at 127\.0\.0\.1:1 is not reachable .* `stillery head`"):
        run_pipeline(config, until="generate")
    assert run_pipeline(config, until="prompts")["prompts"] == made


def test_every_stage_that_needs_another_comes_after_it() -> None:
    seen: set[str] = set()
    for stage in STAGES:
        assert {need.partition(".")[0] for need in stage.needs} <= seen
        seen.add(stage.name)


def test_without_bonds_the_stages_behind_them_do_without(tmp_path: Path) -> None:
    stages = stages_of(small_config(tmp_path, "bonds.enabled=false", "refine.enabled=true"))
    names = [stage.name for stage in stages]
    assert names == [stage.name for stage in STAGES if stage.name not in ("bonds", "compare_bonds", "attention")]
    assert all(need.partition(".")[0] in names for stage in stages for need in stage.needs)
    assert [stage.name for stage in stages_of(small_config(tmp_path), "verify")] == ["prompts", "generate", "verify"]


def test_the_stages_of_a_refinement_are_there_only_where_it_is_enabled(tmp_path: Path) -> None:
    plain, refined = stages_of(small_config(tmp_path)), stages_of(small_config(tmp_path, "refine.enabled=true"))
    assert {stage.name for stage in refined} - {stage.name for stage in plain} == {"refine", "evaluate_sft"}
    needs = {stage.name: stage.needs for stage in refined}
    assert "refine.checkpoint" in needs["evaluate_after"]
    assert "refine.checkpoint" in needs["export"]
    assert "refine.checkpoint" not in needs["evaluate_sft"]


def test_attention_is_transferred_only_where_it_has_a_target_and_a_weight(tmp_path: Path) -> None:
    plain, off, on = (
        {stage.name: stage for stage in stages_of(small_config(tmp_path, *settings))}
        for settings in ((), ("attention.target=bonds", "attention.weight=0"), ("attention.target=bonds",))
    )
    assert off == plain
    assert on.keys() - plain.keys() == {"attention"}
    assert on["sft"].needs == ("curate", "attention")
    # Neither leaves a trace in the fingerprint of a run without them.
    config = small_config(tmp_path)
    assert "attention" not in plain["sft"].settings(config)
    assert "bond_weight" not in plain["curate"].settings(config)


def test_a_stage_with_failed_samples_is_done_once_more_and_then_keeps_what_it_has() -> None:
    starts: list[float] = []

    def work(*shares: float) -> dict[str, float]:
        share = shares[len(starts)]
        starts.append(share)
        if share > 0.05:
            raise TooManyFailuresError("too many")
        return {"failed": share}

    assert retry_failed("generate", lambda: work(0.0)) == {"failed": 0.0}
    starts.clear()
    assert retry_failed("generate", lambda: work(0.5, 0.02)) == {"failed": 0.02}
    starts.clear()
    assert retry_failed("generate", lambda: work(0.04, 0.01)) == {"failed": 0.01}
    assert len(starts) == 2
    starts.clear()
    with pytest.raises(TooManyFailuresError):
        retry_failed("generate", lambda: work(0.5, 0.5))
