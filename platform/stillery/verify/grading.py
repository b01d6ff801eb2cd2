"""`grade` and `same_answer`: one completion or one pair of answers, from any thread, hostile input included.

Pairs that need computer algebra go through one worker process, which the first such call starts and which lives as long
as this process. For many completions use a `GradingPool`.
"""

import atexit
import os
import threading
from collections.abc import Mapping, Sequence
from typing import Any

from stillery.config import CodeConfig
from stillery.errors import UserError
from stillery.records import AnswerKind, Verdict, VerdictKind
from stillery.verify.compare import AUTO, compare
from stillery.verify.judge import Check, GradingTask, Outcome, Pair, Pending, prepare, resolve
from stillery.verify.pool import GradingPool

# By process id: a forked child must neither write into the pipes of its parent's worker nor end it, and may have
# inherited the lock in a locked state.
_pools: dict[int, GradingPool] = {}
_locks: dict[int, threading.Lock] = {}
# The limits that a run's config sets for this process; empty: the defaults.
_limits: dict[str, Any] = {}


def set_limits(*, deadline_s: float, code: Mapping[str, Any]) -> None:
    """Grade within a run's limits (`verify.deadline_s`, `verify.code`) in this process from now on: a training worker
    calls reward functions whose signature has no room for them."""
    _limits.update(deadline_s=deadline_s, code=CodeConfig(**code))
    _close_own()


def open_limited_pool() -> GradingPool:
    """A pool within the limits of this process."""
    return GradingPool(**_limits)


def grade(
    completion: str,
    *,
    answer: str | None,
    answer_kind: str = AUTO,
    choices: Sequence[str] = (),
    finish_reason: str | None = None,
    prefilled_think: bool = False,
    question: str = "",
    sample_id: str = "",
    prompt_id: str = "",
    task: str = "",
    function: str | None = None,
) -> Verdict:
    """The verdict on one completion.

    `answer` is the gold answer (None: the verdict is "unchecked"), `answer_kind` one of `AnswerKind` or "auto"
    (inferred from the gold answer). `prefilled_think` says that the prompt already opened `<think>`. `question` gives
    the readability flags the expected language, and whether code was wanted. `function` is a user's verifier, as
    package.module:name. The check takes at most five seconds, plus the start of the worker process at the first check
    that needs it; past that the verdict is "timeout". A failure on our side is "error", never "wrong".

    Raises UserError for an unknown answer kind.
    """
    job = GradingTask(
        completion=completion,
        answer=answer,
        answer_kind=_checked(answer_kind),
        choices=tuple(choices),
        finish_reason=finish_reason,
        prefilled_think=prefilled_think,
        question=question,
        sample_id=sample_id,
        prompt_id=prompt_id,
        task=task,
        function=function,
    )
    prepared = prepare(job)
    return resolve(prepared, _check_safely(prepared.check)) if isinstance(prepared, Pending) else prepared


def same_answer(predicted: str, gold: str, *, answer_kind: str = AUTO) -> bool:
    """Whether two answers are the same, by the policy of docs/concepts/verification.md.

    Raises UserError for an unknown answer kind, TimeoutError where the comparison takes longer than five seconds, and
    RuntimeError where it fails: neither means that the answers differ.
    """
    kind = _checked(answer_kind)
    same = compare(predicted, gold, answer_kind=kind)
    if same is not None:
        return same
    outcome = _check_safely(Pair(predicted, gold, kind))
    if outcome.kind is VerdictKind.TIMEOUT:
        raise TimeoutError(outcome.detail)
    if outcome.kind is VerdictKind.ERROR:
        raise RuntimeError(f"{predicted[:80]!r} was not compared with {gold[:80]!r}: {outcome.detail}")
    return outcome.kind is VerdictKind.CORRECT


def _checked(answer_kind: str) -> str:
    if answer_kind != AUTO and answer_kind not in set(AnswerKind):
        raise UserError(f"answer_kind is {answer_kind!r}; it must be {AUTO}, {', '.join(AnswerKind)}")
    return answer_kind


def _check_safely(check: Check) -> Outcome:
    process = os.getpid()
    with _locks.setdefault(process, threading.Lock()):
        if process not in _pools:
            _pools[process] = open_limited_pool()
            atexit.register(_close_own)
        return _pools[process].check_many([check])[0]


def _close_own() -> None:
    if pool := _pools.pop(os.getpid(), None):
        pool.close()
