"""The parity gate: named checks of measurements against thresholds.

Each check targets one fault: logits (rotary settings, permuted or damaged weights), greedy answers (faults that logits
of single positions miss), ends (end tokens), tokenizer, chat template, and what users would notice: accuracy, stopping,
repetition. Perplexity alone passes broken files, so it never stands alone.
"""

import math
from dataclasses import dataclass

from stillery.config import ExportConfig, ParityThresholds
from stillery.export.parity.figures import Parity


@dataclass(frozen=True, slots=True)
class ParityCheck:
    """One check: its name, the measured value, its limit, and whether it passed."""

    name: str
    measured: float
    limit: float
    is_passed: bool
    detail: str = ""


def thresholds_for(config: ExportConfig, quantization: str, *, is_unquantized: bool) -> ParityThresholds:
    """The thresholds of a quantization, by the bits in its name: fp16, int8, Q8_0, Q5_K_M, int4, 8da4w."""
    if is_unquantized:
        return config.unquantized
    bits = weight_bits(quantization)
    return config.eight_bit if bits >= 8 else config.five_bit if bits >= 5 else config.four_bit


def weight_bits(quantization: str) -> int:
    """The bits per weight, from a quantization's name.

    Raises ValueError for a name without bits: a format must not be held to limits that aren't its own.
    """
    name = quantization.lower()
    for mark, bits in {"a4w": 4, "a8w": 8, "f32": 32, "fp32": 32, "f16": 16, "fp16": 16}.items():
        if mark in name:
            return bits
    digits = [int(c) for c in name.replace("_", " ").split(" ")[0] if c.isdigit()]
    if not digits:
        raise ValueError(f"the name of quantization {quantization!r} says nothing of its bits")
    return digits[0]


def judge(parity: Parity, thresholds: ParityThresholds, *, min_tokenizer_agreement: float) -> list[ParityCheck]:
    """Compare metrics with thresholds. An artifact is kept if every check passed."""
    p, t = parity, thresholds
    ratio = p.perplexity / p.reference_perplexity
    drop = p.accuracy_drop
    noise = drop.standard_error or 0.0
    first = f"such as {p.differing[0]}" if p.differing else ""
    return [
        _at_most("kl", p.kl, t.max_kl, f"nats a token, {p.num_positions} positions"),
        _at_least("top_1", p.top_1_agreement, t.min_top_1),
        _at_most("perplexity", max(ratio, 1 / ratio), t.max_perplexity_ratio, "ratio, in either direction"),
        _at_least("greedy", p.greedy_agreement, t.min_greedy, f"{p.num_answers} answers"),
        _at_least("end_token", p.end_agreement, 1.0, "answers that agree must end alike"),
        _at_least("tokenizer", p.tokenizer_agreement, min_tokenizer_agreement, first),
        _at_least("chat_template", p.template_agreement, 1.0),
        _at_most("accuracy", drop.mean, t.max_accuracy_drop + noise, "drop; the limit has one standard error added"),
        _at_most("stop_rate", p.reference_stop_rate - p.stop_rate, t.max_stop_rate_drop, "drop"),
        _at_most("repetition", p.repetition_rate - p.reference_repetition_rate, t.max_repetition_rise, "rise"),
    ]


def _at_most(name: str, measured: float, limit: float, detail: str = "") -> ParityCheck:
    # NaN fails: a model that gives NaN must not pass because every comparison is false.
    return ParityCheck(name, measured, limit, math.isfinite(measured) and measured <= limit, detail)


def _at_least(name: str, measured: float, limit: float, detail: str = "") -> ParityCheck:
    return ParityCheck(name, measured, limit, math.isfinite(measured) and measured >= limit, detail)
