"""A stage ends if too many of its samples failed for a reason of ours."""

from collections import Counter

import pytest

from stillery.errors import UserError
from stillery.metrics import check_failures


def test_a_share_within_the_limit_is_told() -> None:
    assert check_failures("verify", Counter(), num_samples=0, most=0.0) == 0.0
    assert check_failures("verify", Counter(), num_samples=9, most=0.0) == 0.0
    assert check_failures("verify", Counter(timeout=5), num_samples=100, most=0.05) == 0.05


def test_more_is_an_error_with_the_commonest_reasons_and_the_remedy() -> None:
    reasons = Counter({"HTTP 503": 9, "timeout": 2, "rare": 1, "rarest": 1})
    with pytest.raises(UserError) as caught:
        check_failures("generate", reasons, num_samples=100, most=0.05)
    text = str(caught.value)
    assert text.startswith("generate: 13 of 100 samples failed (13.0%), more than run.max_failure_share=0.05 allows: ")
    assert "HTTP 503 (9 times); timeout (2 times); rare (1 times)" in text
    assert "start again, and only these are made" in text
