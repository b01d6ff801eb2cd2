"""The scaling model: which quantity grows with which, and its constants are those of the design."""

import dataclasses

import pytest

from stillery.plan.scaling import Costs, Hardware, Workload, rows_per_file, scale

COSTS = Costs(
    verify_s=1e-3,
    bonds_s=1e-2,
    curate_s=1e-4,
    index_s=5e-5,
    row_s=1e-4,
    id_s=1e-5,
    tally_s=5e-3,
    wait_share=0.05,
    index_bytes=300,
    sample_bytes=8000,
)
WORK = Workload(num_prompts=1000, samples_per_prompt=16, completion_tokens=2000)
EIGHT = Hardware(num_gpus=8, gpus_per_replica=4, tokens_per_s=4000, cpus_per_gpu=8, network_bytes_per_s=1e9)


def test_every_part_is_its_units_times_their_cost() -> None:
    found = scale(WORK, EIGHT, COSTS)
    assert found.seconds["generation"] == pytest.approx(16_000 * 2000 / 8000)
    assert found.seconds["verification"] == pytest.approx(16)
    assert found.seconds["bonds"] == pytest.approx(16_000 * 1e-2 / 64)
    assert found.seconds["curation"] == pytest.approx(1.6)
    assert found.seconds["inventory"] == pytest.approx(16_000 * 5e-5)
    assert found.driver_beside_s == pytest.approx(found.num_files * 5e-3 + found.seconds["generation"] * 0.05)
    assert found.num_files_left == pytest.approx(16_000 / 2048)
    assert found.seconds["object store"] == pytest.approx(16_000 * 8000 / 1e9)
    assert found.driver_bytes == 1000 * 300
    assert found.bottleneck == "generation"


def test_what_the_driver_does_alone_does_not_shrink_with_gpus() -> None:
    many = scale(WORK, dataclasses.replace(EIGHT, num_gpus=4096), COSTS)
    few = scale(WORK, EIGHT, COSTS)
    for part in ("sample ids", "inventory", "log rows", "verification", "curation"):
        assert many.seconds[part] == few.seconds[part]
    assert many.seconds["generation"] == pytest.approx(few.seconds["generation"] / 512)
    assert many.bottleneck == "verification"
    assert many.beside_generation > few.beside_generation


def test_slow_engines_write_small_files_and_fast_ones_full_ones() -> None:
    def rows(tokens_per_s: float, flush_s: float = 5.0) -> float:
        return rows_per_file(
            WORK, dataclasses.replace(EIGHT, tokens_per_s=tokens_per_s), flush_every=128, flush_s=flush_s
        )

    assert rows(4000) == pytest.approx(2.5)
    assert rows(10) == 1
    assert rows(1e6) == 128
    assert rows(4000, flush_s=60) == pytest.approx(30)


def test_more_checking_processes_only_help_checking() -> None:
    one, ten = scale(WORK, EIGHT, COSTS), scale(WORK, EIGHT, COSTS, verify_processes=10)
    assert ten.seconds["verification"] == pytest.approx(one.seconds["verification"] / 10)
    assert {**ten.seconds, "verification": 0} == {**one.seconds, "verification": 0}
