"""Parity figures, on runtimes at a known distance, and the checks that catch each kind of fault."""

import math
from dataclasses import replace

import numpy as np
import pytest

from stillery.config import ExportConfig
from stillery.errors import UserError
from stillery.export.parity.corpus import Text
from stillery.export.parity.figures import (
    Parity,
    Reference,
    ask_reference,
    common_outcomes,
    compare,
    log_softmax,
    repetition,
)
from stillery.export.parity.gate import ParityCheck, judge, thresholds_for, weight_bits
from stillery.records import Prompt
from support.table_runtime import END, VOCABULARY, TableRuntime, decode, table_for

ANSWER = "<answer>42</"
CORPUS = [Text("words", "a+b = c"), Text("words", "abc"), Text("digits", "1234"), Text("decomposed", "xyz")]


def problem(number: int, answer: str = "42") -> Prompt:
    return Prompt(str(number), "sum", f"{number}+1", answer, "number", [], "test", "test", None, None)


def asked(runtime: TableRuntime, **options: int) -> Reference:
    return ask_reference(
        runtime,
        [problem(n) for n in range(1, 9)],
        CORPUS,
        end_tokens=(END,),
        decode=decode,
        max_new_tokens=options.get("max_new_tokens", 20),
        max_positions=options.get("max_positions", 40),
        context=options.get("context", 2000),
    )


REFERENCE = asked(TableRuntime(table_for("42")))


def failed(parity: Parity, quantization: str = "fp32") -> set[str]:
    config = ExportConfig()
    thresholds = thresholds_for(config, quantization, is_unquantized=quantization == "fp32")
    checks = judge(parity, thresholds, min_tokenizer_agreement=config.min_tokenizer_agreement)
    return {check.name for check in checks if not check.is_passed}


def test_a_runtime_agrees_with_itself() -> None:
    parity = compare(TableRuntime(table_for("42")), REFERENCE)
    assert parity.kl == pytest.approx(0, abs=1e-12)
    assert parity.top_1_agreement == parity.greedy_agreement == parity.tokenizer_agreement == 1
    assert parity.perplexity == pytest.approx(parity.reference_perplexity)
    assert parity.stop_rate == 1
    assert failed(parity) == set()


def test_kl_is_the_divergence_from_checkpoint_to_artifact() -> None:
    size = len(VOCABULARY)
    flat, peaked = np.zeros((size, size), np.float32), np.zeros((size, size), np.float32)
    peaked[:, 5] = 3.0
    p = np.exp(peaked[0].astype(float)) / np.exp(peaked[0].astype(float)).sum()
    parity = compare(TableRuntime(flat), asked(TableRuntime(peaked)))
    assert parity.kl == pytest.approx(float((p * np.log(p * size)).sum()), rel=1e-6)
    assert parity.perplexity == pytest.approx(size)


def test_log_probabilities_count_as_logits() -> None:
    table = table_for("42", noise=0.5)
    ours, shifted = (compare(TableRuntime(t), REFERENCE) for t in (table, log_softmax(table).astype(np.float32)))
    assert ours.kl == pytest.approx(shifted.kl, rel=1e-4)


def hide(rows: np.ndarray, listed: int) -> np.ndarray:
    """Log-probabilities, NaN for all but the most likely, as listed by a server."""
    shown = log_softmax(rows)
    shown[shown < np.sort(shown, axis=-1)[:, -listed, None]] = np.nan
    return shown


def kl(theirs: np.ndarray, ours: np.ndarray) -> np.ndarray:
    return (np.exp(theirs) * (theirs - ours)).sum(axis=-1)


def test_tokens_that_are_not_listed_are_one_outcome() -> None:
    draw = np.random.default_rng(0)
    expected = draw.normal(size=(50, 300)) * 4
    given = expected + draw.normal(size=expected.shape) * 0.3
    whole = kl(*common_outcomes(expected, given))
    theirs, ours = common_outcomes(expected, hide(given, 40))
    assert np.exp(theirs).sum(axis=-1) == pytest.approx(1)
    assert np.exp(ours).sum(axis=-1) == pytest.approx(1)
    assert (kl(theirs, ours) <= whole + 1e-9).all()
    # By hand: the listed tokens among themselves, and their mass, which is known to one in a thousand.
    listed = ~np.isnan(hide(given, 40)[0])
    p, q = np.exp(log_softmax(expected)[0]), np.exp(log_softmax(given)[0])
    mine, its = p[listed].sum(), q[listed].sum()
    its += np.clip(mine - its, -1e-3, 1e-3)
    inside = (p[listed] * np.log(p[listed] / mine / (q[listed] / q[listed].sum()))).sum()
    masses = mine * np.log(mine / its) + (1 - mine) * np.log((1 - mine) / (1 - its))
    assert kl(theirs, ours)[0] == pytest.approx(inside + masses)


def test_a_normalizer_that_lost_small_terms_is_no_difference() -> None:
    expected = np.random.default_rng(0).normal(size=(50, 300)) * 4
    theirs, ours = common_outcomes(expected, hide(expected, 40) + 2e-4)
    assert kl(theirs, ours) == pytest.approx(0, abs=1e-9)


def test_mass_that_moved_out_of_the_listed_tokens_is_seen() -> None:
    draw = np.random.default_rng(0)
    expected = draw.normal(size=(50, 300)) * 4
    shuffled = draw.permuted(expected, axis=1)
    assert kl(*common_outcomes(expected, hide(shuffled, 10))).mean() > 1


def test_vocabularies_of_two_sizes_are_told() -> None:
    with pytest.raises(UserError, match="its vocabulary has 5 tokens, and the checkpoint's 6"):
        common_outcomes(np.zeros((1, 6)), np.zeros((1, 5)))


def test_positions_are_limited_by_count_and_context() -> None:
    assert sum(map(len, asked(TableRuntime(table_for("42")), max_positions=10).sequences)) <= 10
    assert max(map(len, asked(TableRuntime(table_for("42")), context=3).sequences)) == 3


def test_a_lower_perplexity_than_the_checkpoints_fails_as_a_higher_one_does() -> None:
    parity = compare(TableRuntime(table_for("42")), REFERENCE)
    for factor in (0.5, 2.0):
        assert failed(replace(parity, perplexity=parity.reference_perplexity * factor)) == {"perplexity"}


def test_other_logits_fail_kl() -> None:
    parity = compare(TableRuntime(table_for("42", noise=1.0)), REFERENCE)
    assert {"kl", "top_1"} <= failed(parity)


def test_a_wrong_end_token_fails_where_answers_run_on_or_stop_early() -> None:
    table = table_for("42")
    early = compare(TableRuntime(table, end=VOCABULARY.index("4")), REFERENCE)
    late = compare(TableRuntime(table, end=VOCABULARY.index("z")), REFERENCE)
    assert {"end_token", "greedy"} <= failed(early)
    assert "end_token" in failed(late)
    assert early.end_agreement == 0


def test_other_tokens_fail_the_tokenizer_alone_and_name_a_text() -> None:
    parity = compare(TableRuntime(table_for("42"), renames={"bc": "b"}), REFERENCE)
    assert failed(parity) == {"tokenizer"}
    assert parity.tokenizer_agreement == pytest.approx(2 / 3)
    assert parity.differing == ["words: 'abc'"]


def test_decomposed_text_is_reported_and_not_judged() -> None:
    parity = compare(TableRuntime(table_for("42"), renames={"xyz": "q"}), REFERENCE)
    assert parity.decomposed_agreement == 0
    assert failed(parity) == set()


def test_another_template_fails_the_template() -> None:
    assert failed(compare(TableRuntime(table_for("42"), suffix="?="), REFERENCE)) == {"chat_template"}


def test_a_figure_that_is_no_number_fails() -> None:
    parity = compare(TableRuntime(table_for("42")), REFERENCE)
    assert failed(replace(parity, kl=math.nan)) == {"kl"}
    assert failed(replace(parity, top_1_agreement=math.nan)) == {"top_1"}


def test_accuracy_is_allowed_its_noise_and_no_more() -> None:
    parity = compare(TableRuntime(table_for("42")), REFERENCE)
    drop = replace(parity.accuracy_drop, mean=0.12, standard_error=0.03)
    assert failed(replace(parity, accuracy_drop=drop), "int4") == set()
    assert failed(replace(parity, accuracy_drop=replace(drop, mean=0.14)), "int4") == {"accuracy"}
    assert failed(replace(parity, accuracy_drop=replace(drop, standard_error=None)), "int4") == {"accuracy"}


def test_repetition_is_the_share_of_repeated_four_grams() -> None:
    assert repetition([1, 2, 3]) == 0
    assert repetition([1, 2, 3, 4, 5, 6]) == 0
    assert repetition([7] * 8) == pytest.approx(4 / 5)


@pytest.mark.parametrize(
    ("name", "bits"),
    [
        ("F32", 32), ("fp32", 32), ("BF16", 16), ("F16", 16), ("Q8_0", 8), ("int8", 8), ("Q6_K", 6), ("Q5_K_M", 5),
        ("Q4_0", 4), ("int4-k-quant-mixed", 4), ("8da4w", 4),
    ],
)  # fmt: skip
def test_bits_are_told_by_the_name(name: str, bits: int) -> None:
    assert weight_bits(name) == bits


def test_a_name_without_bits_is_an_error() -> None:
    with pytest.raises(ValueError, match="'tiny'"):
        weight_bits("tiny")


def test_each_quantization_is_held_to_its_own_limits() -> None:
    config = ExportConfig()
    assert thresholds_for(config, "F32", is_unquantized=True) is config.unquantized
    assert thresholds_for(config, "F16", is_unquantized=False) is config.eight_bit
    assert thresholds_for(config, "Q5_1", is_unquantized=False) is config.five_bit
    assert thresholds_for(config, "8da4w", is_unquantized=False) is config.four_bit


def test_every_check_says_what_it_measured() -> None:
    checks: list[ParityCheck] = judge(
        compare(TableRuntime(table_for("42")), REFERENCE), ExportConfig().unquantized, min_tokenizer_agreement=1.0
    )
    assert len({check.name for check in checks}) == len(checks) == 10
    assert next(check for check in checks if check.name == "kl").limit == ExportConfig().unquantized.max_kl
