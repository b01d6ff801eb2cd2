"""Too few rows for what the training asks: said before it starts, and before the teacher where that is known."""

import pytest

from stillery.config import SftConfig, load_config
from stillery.errors import UserError
from stillery.pipeline.preflight import check
from stillery.training.counts import check_counts, check_elastic


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["prompts.num_train=1", "curate.max_per_prompt=2", "sft.num_workers=3"], "gives at most 2 rows; lower it"),
        (["prompts.num_validation=0", "sft.trl.eval_strategy=epoch"], "prompts.num_validation is 0; unset it"),
    ],
)
def test_generated_problems_that_are_too_few_are_refused_before_the_teacher(overrides: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        check(load_config(None, overrides))


def test_rows_that_are_enough_pass() -> None:
    check_counts(SftConfig(), num_train=1, num_validation=0, length=10)
    packed = SftConfig(num_workers=2, trl={"packing": True, "max_length": 100, "per_device_train_batch_size": 2})
    check_counts(packed, num_train=20, num_validation=3, length=301)


@pytest.mark.parametrize(
    ("config", "length", "message"),
    [
        (SftConfig(num_workers=9), 900, "sft.num_workers=9: there are 8 rows"),
        (SftConfig(trl={"packing": True, "max_length": 100}), 700, "about 7 packed rows of 100 .* one batch of 8"),
        (SftConfig(trl={"eval_strategy": "steps"}), 900, "no row of the validation split is left"),
    ],
)
def test_rows_that_are_too_few_are_refused(config: SftConfig, length: int, message: str) -> None:
    with pytest.raises(UserError, match=message):
        check_counts(config, num_train=8, num_validation=0, length=length)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["sft.num_workers=2", "sft.max_workers=1"], "sft.max_workers=1 is below sft.num_workers=2"),
        (["sft.max_workers=2", "sft.max_failures=0"], "needs sft.max_failures above 0"),
        (["sft.max_workers=4"], "3 workers cannot share a batch of 8 .* a multiple of 12 as"),
        (["sft.num_workers=2", "sft.max_workers=3"], "3 workers cannot share a batch of 16 .* a multiple of 3 as"),
    ],
)
def test_workers_that_cannot_share_the_batch_are_refused_before_the_teacher(overrides: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        check(load_config(None, overrides))


@pytest.mark.parametrize(("least", "most", "each"), [(1, 2, 8), (1, 4, 12), (2, 3, 3), (2, 2, 1), (3, None, 1)])
def test_workers_that_can_share_the_batch_pass(least: int, most: int | None, each: int) -> None:
    check_elastic(SftConfig(num_workers=least, max_workers=most, trl={"per_device_train_batch_size": each}))
