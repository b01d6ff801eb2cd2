"""Parity measurements: artifact and checkpoint run side by side.

The checkpoint runs once (`ask_reference`) and its answers are kept; each artifact is then compared with them
(`compare`). Nothing is judged here: `gate` compares the metrics with thresholds.
"""

import statistics
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from stillery.errors import UserError
from stillery.export.formats import Runtime
from stillery.export.parity.corpus import Text
from stillery.metrics.accuracy import Estimate, estimate
from stillery.records import Prompt, VerdictKind
from stillery.telemetry.logs import logger
from stillery.verify import grade

# Typical trouble for a chat template: quotes, templates inside text, other scripts, spaces at the ends, empty text.
QUESTIONS = (
    "What is 12 + 30?",
    "Line one\nLine two\n\n  indented\t",
    'It\'s "quoted", {{ braces }} and {% tags %} \\n',
    "Wie groß ist π? 数学は何ですか 😀",
    " leading and trailing ",
    "<b>3 < 4 & 5 > 2</b>",
    "",
)


# The remaining mass where float32 leaves none of 1.
_LEAST_MASS = 1e-9
# llama.cpp sums a vocabulary's probabilities in float32 and loses the small ones: up to 3e-4 with 49,152 tokens.
_MASS_ERROR = 1e-3
_REPORT_EVERY_S = 15.0
_BATCH_SIZE = 16

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Answer:
    """A greedy answer to a problem: its tokens, whether it ended by itself, and whether it is correct."""

    tokens: list[int]
    has_stopped: bool
    is_correct: bool


@dataclass(frozen=True, slots=True)
class Reference:
    """The checkpoint's results: prompts and answers of the problems, and logits on the first of them.

    `logits` are (tokens, vocabulary) for as many sequences (prompt and answer) as `sequences` holds.
    """

    problems: list[Prompt]
    prompts: list[list[int]]
    answers: list[Answer]
    sequences: list[list[int]]
    logits: list[NDArray[np.float32]]
    corpus: list[Text]
    tokenized: list[list[int]]
    rendered: list[str]
    end_tokens: tuple[int, ...]
    max_new_tokens: int
    decode: Callable[[Sequence[int]], str]


@dataclass(frozen=True, slots=True)
class Parity:
    """The metrics. KL is in nats per token, from checkpoint to artifact; rates and agreements are shares.

    `accuracy_drop` is paired by problem; repetition is the share of an answer's 4-grams that occurred before in it
    (seq-rep-4 of Welleck et al. 2019, arXiv 1908.04319). `differing` holds a few texts that are tokenized otherwise,
    `decomposed_agreement` the same agreement on decomposed Unicode alone, which is reported and not judged.
    """

    num_positions: int
    kl: float
    max_kl: float
    top_1_agreement: float
    perplexity: float
    reference_perplexity: float
    num_answers: int
    greedy_agreement: float
    end_agreement: float
    accuracy: Estimate
    reference_accuracy: Estimate
    accuracy_drop: Estimate
    stop_rate: float
    reference_stop_rate: float
    repetition_rate: float
    reference_repetition_rate: float
    num_texts: int
    tokenizer_agreement: float
    decomposed_agreement: float
    template_agreement: float
    differing: list[str] = field(default_factory=list[str])


class ReferenceRuntime(Runtime, Protocol):
    """The checkpoint's runtime, which can answer several prompts in one batch."""

    def generate_batch(self, prompts: Sequence[Sequence[int]], *, max_new_tokens: int) -> list[list[int]]:
        """`generate` for each prompt."""
        ...


def ask_reference(
    runtime: ReferenceRuntime,
    problems: Sequence[Prompt],
    corpus: Sequence[Text],
    *,
    end_tokens: tuple[int, ...],
    decode: Callable[[Sequence[int]], str],
    max_new_tokens: int,
    max_positions: int,
    context: int,
) -> Reference:
    """Answer every problem greedily, and keep the logits of about `max_positions` tokens of prompts and answers.

    `context` is the longest sequence, in tokens, that every runtime holds.
    """
    prompts = [runtime.tokenize(runtime.render(problem.question)) for problem in problems]
    made = answer_all(runtime, prompts, max_new_tokens=max_new_tokens)
    answers = [_answer(p, tokens, end_tokens, decode) for p, tokens in zip(problems, made, strict=True)]
    sequences: list[list[int]] = []
    for prompt, tokens in zip(prompts, made, strict=True):
        left = max_positions - sum(len(sequence) for sequence in sequences)
        if left < 2:
            break
        sequences.append((prompt + tokens)[: min(left, context)])
    return Reference(
        problems=list(problems),
        prompts=prompts,
        answers=answers,
        sequences=sequences,
        logits=[runtime.logits(sequence) for sequence in sequences],
        corpus=list(corpus),
        tokenized=[runtime.tokenize(text.text) for text in corpus],
        rendered=[runtime.render(question) for question in QUESTIONS],
        end_tokens=end_tokens,
        max_new_tokens=max_new_tokens,
        decode=decode,
    )


def answer_all(runtime: ReferenceRuntime, prompts: Sequence[list[int]], *, max_new_tokens: int) -> list[list[int]]:
    """The checkpoint's greedy answers, in batches large enough that the cost of a step, which is reading the weights,
    is shared."""
    batches = [prompts[start : start + _BATCH_SIZE] for start in range(0, len(prompts), _BATCH_SIZE)]
    told = reported(batches, f"batches of {_BATCH_SIZE} problems answered")
    return [answer for batch in told for answer in runtime.generate_batch(batch, max_new_tokens=max_new_tokens)]


def compare(runtime: Runtime, reference: Reference) -> Parity:
    """Run an artifact on the checkpoint's problems, and measure the difference.

    Raises UserError where the vocabularies differ in size.
    """
    prompts = reported(reference.prompts, "problems answered")
    made = [runtime.generate(prompt, max_new_tokens=reference.max_new_tokens) for prompt in prompts]
    answers = [
        _answer(problem, tokens, reference.end_tokens, reference.decode)
        for problem, tokens in zip(reference.problems, made, strict=True)
    ]
    pairs = list(zip(reference.answers, answers, strict=True))
    distributions = _compare_distributions(runtime, reference)
    tokenizer = _compare_tokenizer(runtime, reference)
    templates = [runtime.render(q) == text for q, text in zip(QUESTIONS, reference.rendered, strict=True)]
    return Parity(
        **distributions,
        **tokenizer,
        num_answers=len(answers),
        greedy_agreement=_mean(theirs.tokens == ours.tokens for theirs, ours in pairs),
        end_agreement=_mean(_same_end(theirs, ours) for theirs, ours in pairs),
        accuracy=estimate(answer.is_correct for answer in answers),
        reference_accuracy=estimate(answer.is_correct for answer in reference.answers),
        accuracy_drop=estimate(theirs.is_correct - ours.is_correct for theirs, ours in pairs),
        stop_rate=_mean(answer.has_stopped for answer in answers),
        reference_stop_rate=_mean(answer.has_stopped for answer in reference.answers),
        repetition_rate=_mean(repetition(answer.tokens) for answer in answers),
        reference_repetition_rate=_mean(repetition(answer.tokens) for answer in reference.answers),
        template_agreement=_mean(templates),
    )


def reported(items: Sequence[T], what: str) -> Iterator[T]:
    """Yields the items; every 15 s a log line gives how many are done, and the time left at that rate."""
    start = said = time.monotonic()
    for done, item in enumerate(items):
        if (now := time.monotonic()) - said > _REPORT_EVERY_S:
            said = now
            logger.info(
                f"parity: {done} of {len(items)} {what}, {(now - start) / done * (len(items) - done):.0f} s left"
            )
        yield item


def repetition(tokens: Sequence[int]) -> float:
    """The share of 4-grams that occurred before; 0 for fewer than four tokens."""
    grams = [tuple(tokens[start : start + 4]) for start in range(len(tokens) - 3)]
    return 1 - len(set(grams)) / len(grams) if grams else 0.0


def log_softmax(logits: NDArray[np.floating]) -> NDArray[np.float64]:
    """Log-probabilities over the last axis."""
    shifted = logits.astype(np.float64) - logits.max(axis=-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))


def _compare_distributions(runtime: Runtime, reference: Reference) -> dict[str, float]:
    divergences: list[NDArray[np.float64]] = []
    same: list[NDArray[np.bool_]] = []
    losses: list[NDArray[np.float64]] = []
    reference_losses: list[NDArray[np.float64]] = []
    asked = list(zip(reference.sequences, reference.logits, strict=True))
    for tokens, expected in reported(asked, "sequences compared"):
        theirs, ours = common_outcomes(expected, runtime.logits(tokens))
        divergences.append((np.exp(theirs) * (theirs - ours)).sum(axis=-1))
        same.append(theirs.argmax(axis=-1) == ours.argmax(axis=-1))
        following = (np.arange(len(tokens) - 1), np.asarray(tokens[1:]))
        losses.append(-ours[:-1][following])
        reference_losses.append(-theirs[:-1][following])
    kl = np.concatenate(divergences)
    return {
        "num_positions": len(kl),
        "kl": float(kl.mean()),
        "max_kl": float(kl.max()),
        "top_1_agreement": float(np.concatenate(same).mean()),
        "perplexity": float(np.exp(np.concatenate(losses).mean())),
        "reference_perplexity": float(np.exp(np.concatenate(reference_losses).mean())),
    }


def common_outcomes(
    expected: NDArray[np.floating], given: NDArray[np.floating]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Log-probabilities (tokens, vocabulary) of checkpoint and artifact over the same outcomes.

    Where a runtime reports its likeliest tokens alone, the others (NaN) are one outcome on both sides, its mass spread
    evenly over them: the KL is then that of the coarser distributions, at most the full one. The total mass of the
    reported ones is the runtime's, up to its precision (`_MASS_ERROR`). Raises UserError for vocabularies of different
    sizes.
    """
    if expected.shape != given.shape:
        raise UserError(f"its vocabulary has {given.shape[-1]} tokens, and the checkpoint's {expected.shape[-1]}")
    theirs = log_softmax(expected)
    hidden = np.isnan(given)
    if not hidden.any():
        return theirs, log_softmax(given)
    ours = np.where(hidden, -np.inf, given.astype(np.float64))
    named = np.where(hidden, 0.0, np.exp(theirs)).sum(axis=-1, keepdims=True)
    told = np.exp(ours).sum(axis=-1, keepdims=True)
    mass = np.clip(np.clip(named, told - _MASS_ERROR, told + _MASS_ERROR), _LEAST_MASS, 1 - _LEAST_MASS)
    ours += np.log(mass / told)
    count = np.maximum(hidden.sum(axis=-1, keepdims=True), 1)
    for rows, kept in ((theirs, named), (ours, mass)):
        share = np.log(np.maximum(1 - kept, _LEAST_MASS) / count)
        rows[hidden] = np.broadcast_to(share, rows.shape)[hidden]
    return theirs, ours


def _compare_tokenizer(runtime: Runtime, reference: Reference) -> dict[str, Any]:
    same = [
        runtime.tokenize(text.text) == tokens
        for text, tokens in zip(reference.corpus, reference.tokenized, strict=True)
    ]
    judged = [ok for ok, text in zip(same, reference.corpus, strict=True) if text.kind != "decomposed"]
    others = [ok for ok, text in zip(same, reference.corpus, strict=True) if text.kind == "decomposed"]
    differing = [
        f"{text.kind}: {text.text!a}"
        for ok, text in zip(same, reference.corpus, strict=True)
        if not ok and text.kind != "decomposed"
    ]
    return {
        "num_texts": len(same),
        "tokenizer_agreement": _mean(judged),
        "decomposed_agreement": _mean(others),
        "differing": differing[:10],
    }


def _answer(
    problem: Prompt, tokens: list[int], end_tokens: Sequence[int], decode: Callable[[Sequence[int]], str]
) -> Answer:
    has_stopped = bool(tokens) and tokens[-1] in end_tokens
    verdict = grade(
        decode(tokens),
        answer=problem.answer,
        answer_kind=problem.answer_kind,
        choices=problem.choices,
        finish_reason="stop" if has_stopped else "length",
        question=problem.question,
    )
    return Answer(tokens, has_stopped, verdict.verdict == VerdictKind.CORRECT)


def _same_end(theirs: Answer, ours: Answer) -> bool:
    """Whether an answer ended where the checkpoint's did, as far as both have the same tokens: a runtime with the wrong
    end token stops inside the checkpoint's answer, or continues after its end."""
    common = min(len(theirs.tokens), len(ours.tokens))
    if theirs.tokens[:common] != ours.tokens[:common]:
        return True
    return len(theirs.tokens) == len(ours.tokens) and theirs.has_stopped == ours.has_stopped


def _mean(values: Iterable[float]) -> float:
    found = list(values)
    return statistics.fmean(found) if found else 1.0
