"""Zero-shot chain of thought in two steps (Kojima et al. 2022, as Fine-tune-CoT samples its teachers).

A model that does not know the template first continues a reasoning trigger, then gives the answer to its own rationale.
The two parts come out as one sample in the template, `<think>rationale</think><answer>answer</answer>`.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from stillery.records import Generation, Request
from stillery.sampling.engine import Engine
from stillery.thinking import CLOSE_THINK, OPEN_THINK

REASONING_TRIGGER = "Let's think step by step."
ANSWER_TRIGGER = "Therefore, the answer is"

# The answer is short and should be the likeliest; all other settings are the rationale's.
ANSWER_SAMPLING: dict[str, Any] = {"temperature": 0.0, "max_tokens": 64, "stop": ["\n"]}


class TwoStepEngine:
    """Makes each sample by two requests to another engine. A rationale that was cut off or failed is returned without a
    second step."""

    def __init__(self, inner: Engine) -> None:
        self._inner = inner

    def submit(
        self, request: Request, *, sampling: Mapping[str, Any], done: Callable[[Generation | Exception], None]
    ) -> None:
        def answer(rationale: Generation | Exception) -> None:
            if isinstance(rationale, Exception) or rationale.error is not None or rationale.finish_reason == "length":
                done(rationale)
                return
            rendered = f"{request.rendered}{rationale.completion}\n{ANSWER_TRIGGER}"
            second = dataclasses.replace(request, sample_id=f"{request.sample_id}-answer", rendered=rendered)
            self._inner.submit(
                second, sampling={**sampling, **ANSWER_SAMPLING}, done=lambda made: done(_join(rationale, made))
            )

        self._inner.submit(request, sampling=sampling, done=answer)

    def close(self) -> None:
        self._inner.close()


def _join(rationale: Generation, answer: Generation | Exception) -> Generation | Exception:
    """One sample of both steps; its log-probability is the mean over the tokens of both."""
    if isinstance(answer, Exception):
        return answer
    if answer.error is not None:
        return dataclasses.replace(rationale, completion="", error=answer.error)
    num_tokens = rationale.num_tokens + answer.num_tokens
    parts = (rationale, answer)
    totals = [part.mean_logprob * part.num_tokens for part in parts if part.mean_logprob is not None]
    thinking = f"{REASONING_TRIGGER}{rationale.completion}".strip()
    return dataclasses.replace(
        rationale,
        completion=f"{OPEN_THINK}\n{thinking}\n{CLOSE_THINK}\n<answer>{answer.completion.strip().rstrip('.')}</answer>",
        finish_reason=answer.finish_reason,
        num_prompt_tokens=rationale.num_prompt_tokens + answer.num_prompt_tokens,
        num_tokens=num_tokens,
        mean_logprob=sum(totals) / num_tokens if len(totals) == 2 and num_tokens else None,
    )
