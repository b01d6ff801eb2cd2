"""Two requests, one sample: the rationale, then its answer."""

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from stillery.records import Generation, Request
from stillery.sampling.two_step import TwoStepEngine

REQUEST = Request("id", "p", 0, 7, "Q: 2 + 3?\nA: Let's think step by step.")


class Scripted:
    """Answers at once, each request with the next of its replies."""

    def __init__(self, *replies: tuple[str, str, str | None] | Exception) -> None:
        self.replies = list(replies)
        self.asked: list[tuple[str, Mapping[str, Any]]] = []

    def submit(
        self, request: Request, *, sampling: Mapping[str, Any], done: Callable[[Generation | Exception], None]
    ) -> None:
        self.asked.append((request.rendered, sampling))
        reply = self.replies.pop(0)
        if isinstance(reply, Exception):
            done(reply)
            return
        text, reason, error = reply
        done(
            Generation(
                request.sample_id,
                request.prompt_id,
                request.sample_index,
                request.seed,
                request.rendered,
                text,
                reason,
                10,
                4,
                -0.5,
                "m",
                "{}",
                0,
                False,
                error,
            )
        )

    def close(self) -> None: ...


def sample(inner: Scripted) -> Generation | Exception:
    made: list[Generation | Exception] = []
    TwoStepEngine(inner).submit(REQUEST, sampling={"temperature": 0.7, "top_p": 0.9}, done=made.append)
    (one,) = made
    return one


def test_both_steps_make_one_sample_in_the_template() -> None:
    inner = Scripted((" 2 and 3 make 5.", "stop", None), (" 5.", "stop", None))
    one = sample(inner)
    assert isinstance(one, Generation)
    assert one.completion == ("<think>\nLet's think step by step. 2 and 3 make 5.\n</think>\n<answer>5</answer>")
    assert (one.sample_id, one.rendered, one.num_tokens, one.mean_logprob) == ("id", REQUEST.rendered, 8, -0.5)
    (_, first), (second_prompt, second) = inner.asked
    assert second_prompt == f"{REQUEST.rendered} 2 and 3 make 5.\nTherefore, the answer is"
    assert (first["temperature"], second["temperature"], second["top_p"]) == (0.7, 0.0, 0.9)


def test_a_rationale_that_was_cut_off_is_handed_back_without_an_answer() -> None:
    inner = Scripted((" 2 and", "length", None))
    one = sample(inner)
    assert isinstance(one, Generation)
    assert (one.finish_reason, one.completion, len(inner.asked)) == ("length", " 2 and", 1)


@pytest.mark.parametrize("failing", [0, 1])
def test_a_failure_of_either_step_is_the_samples(failing: int) -> None:
    good, bad = (" x", "stop", None), ("", "stop", "refused")
    one = sample(Scripted(*[bad if i == failing else good for i in range(2)]))
    assert isinstance(one, Generation)
    assert (one.error, one.completion) == ("refused", "")


@pytest.mark.parametrize("breaking", [0, 1])
def test_an_engine_that_breaks_says_so(breaking: int) -> None:
    broken = RuntimeError("gone")
    assert sample(Scripted(*[broken if i == breaking else (" x", "stop", None) for i in range(2)])) is broken
