"""Judges a completion against its gold answer: a verdict, or the check to run in a separate process first.

Pure. The order of the rules is the policy of docs/concepts/verification.md: first what is not checked, then what cannot
be parsed, and only then what is right or wrong.
"""

import dataclasses
from dataclasses import dataclass

from stillery.records import AnswerKind, Verdict, VerdictKind
from stillery.verify.choices import choice_of, text_of_choice
from stillery.verify.code import CodeTests, find_code
from stillery.verify.compare import AUTO, MATHS, compare, infer_kind, is_overlong, names_several, unreadable
from stillery.verify.equations import value_asked_for
from stillery.verify.extract import extract_answer
from stillery.verify.readability import find_flags
from stillery.verify.template import TemplateParts, parse_template

# The prefix of a verdict's detail where the engine gave no sample.
NO_SAMPLE = "generation:"
# The detail of a verdict that is left to a model judge, which has not been called yet.
NOT_JUDGED = "judge: none was asked; set verify.judge"


@dataclass(frozen=True, slots=True)
class GradingTask:
    """One completion to grade. `error` is the engine's, where it failed to make one. `function` is the user's verifier,
    as package.module:name, which receives the task itself."""

    completion: str
    answer: str | None
    answer_kind: str = AUTO
    choices: tuple[str, ...] = ()
    finish_reason: str | None = None
    prefilled_think: bool = False
    question: str = ""
    sample_id: str = ""
    prompt_id: str = ""
    error: str | None = None
    task: str = ""
    function: str | None = None


@dataclass(frozen=True, slots=True)
class Pair:
    """Two answers that only computer algebra can compare."""

    predicted: str
    gold: str
    kind: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """The outcome of a pair: correct, wrong, timeout or error."""

    kind: VerdictKind
    detail: str | None


@dataclass(frozen=True, slots=True)
class TestRun:
    """Code, and its tests, as JSON."""

    __test__ = False  # Not a pytest class.

    code: str
    tests: str


@dataclass(frozen=True, slots=True)
class FunctionCall:
    """A completion for the user's verifier, and the result that holds where it leaves the decision to the rules."""

    job: GradingTask
    rules: Pair | Outcome


Check = Pair | TestRun | FunctionCall


@dataclass(frozen=True, slots=True)
class Pending:
    """A verdict that only lacks the outcome of its check."""

    verdict: Verdict
    check: Check


def prepare(job: GradingTask) -> Verdict | Pending:
    """The verdict, where it is decided without computer algebra or the user's function; else the pending check.

    Boundary: a bug of ours that one completion triggers becomes that completion's `error`.
    """
    try:
        return _prepare(job)
    except Exception as error:
        return Verdict(
            sample_id=job.sample_id,
            prompt_id=job.prompt_id,
            thinking=None,
            answer_text=None,
            predicted=None,
            verdict=VerdictKind.ERROR,
            template="no_answer",
            flags=[],
            detail=f"{type(error).__name__}: {error}"[:500],
        )


def _prepare(job: GradingTask) -> Verdict | Pending:
    parts = parse_template(job.completion, prefilled_think=job.prefilled_think)
    wants_code = job.answer_kind == AnswerKind.CODE
    flags = (
        find_flags(job.completion, question=job.question, template=parts.state, wants_code=wants_code)
        if job.error is None
        else []
    )
    blank = Verdict(
        sample_id=job.sample_id,
        prompt_id=job.prompt_id,
        thinking=parts.thinking,
        answer_text=parts.answer,
        predicted=None,
        verdict=VerdictKind.ERROR,
        template=parts.state,
        flags=[flag.name for flag in flags],
        detail=None,
        flag_evidence=[flag.evidence for flag in flags],
    )
    if job.error is not None:
        return dataclasses.replace(blank, detail=f"{NO_SAMPLE} {job.error}")
    found = _by_rules(job, parts, blank)
    if job.function is None:
        return found
    is_cut = job.finish_reason == "length" and not parts.answer_closed
    if is_cut or not parts.visible.strip():
        # There is no answer yet, or none at all: nothing to judge.
        return dataclasses.replace(blank, verdict=VerdictKind.TRUNCATED if is_cut else VerdictKind.UNPARSED)
    if isinstance(found, Pending):
        return found if isinstance(found.check, TestRun) else _ask(job, found.verdict, found.check)
    return _ask(job, found, Outcome(VerdictKind(found.verdict), found.detail))


def _ask(job: GradingTask, verdict: Verdict, rules: Check | Outcome) -> Pending:
    assert isinstance(rules, (Pair, Outcome))
    return Pending(verdict, FunctionCall(job, rules))


def _by_rules(job: GradingTask, parts: TemplateParts, blank: Verdict) -> Verdict | Pending:
    is_cut = job.finish_reason == "length"
    if job.answer is None or job.answer_kind == AnswerKind.NONE:
        return dataclasses.replace(blank, verdict=_without_gold(is_cut=is_cut, is_empty=not parts.visible.strip()))
    kind = infer_kind(job.answer, choices=job.choices) if job.answer_kind == AUTO else AnswerKind(job.answer_kind)
    if kind is AnswerKind.JUDGED:
        return _for_a_judge(parts, blank, is_cut=is_cut)
    if kind is AnswerKind.CODE:
        return _by_tests(job.answer, parts, blank, is_cut=is_cut)
    predicted = _predict(parts, job, job.answer, kind, is_cut=is_cut)
    if predicted is None:
        return dataclasses.replace(blank, verdict=VerdictKind.TRUNCATED if is_cut else VerdictKind.UNPARSED)
    # Words may be long, and contain any brackets, if the gold answer does.
    is_words = kind is AnswerKind.STRING and not is_overlong(predicted, job.answer)
    reason = None if is_words else unreadable(predicted)
    if reason is not None:
        return dataclasses.replace(blank, verdict=VerdictKind.UNPARSED, detail=reason)
    read = dataclasses.replace(blank, predicted=predicted)
    same = compare(predicted, job.answer, answer_kind=kind, choices=job.choices)
    if same is None:
        return Pending(read, Pair(predicted, job.answer, kind))
    return dataclasses.replace(read, verdict=VerdictKind.CORRECT if same else VerdictKind.WRONG)


def _for_a_judge(parts: TemplateParts, blank: Verdict, *, is_cut: bool) -> Verdict:
    """The input for a model judge; until it is called the verdict counts as a failure on our side."""
    answer = parts.answer if parts.answer_closed else None if is_cut else parts.visible
    if answer is None or not answer.strip():
        return dataclasses.replace(blank, verdict=VerdictKind.TRUNCATED if is_cut else VerdictKind.UNPARSED)
    return dataclasses.replace(blank, predicted=answer.strip(), detail=NOT_JUDGED)


def _by_tests(tests: str, parts: TemplateParts, blank: Verdict, *, is_cut: bool) -> Verdict | Pending:
    CodeTests.from_json(tests)
    code, why = find_code(parts, is_cut=is_cut)
    if code is None:
        return dataclasses.replace(blank, verdict=VerdictKind.TRUNCATED if is_cut else VerdictKind.UNPARSED, detail=why)
    return Pending(dataclasses.replace(blank, predicted=code), TestRun(code, tests))


def _predict(parts: TemplateParts, job: GradingTask, gold: str, kind: AnswerKind, *, is_cut: bool) -> str | None:
    """The final answer. Where the gold one gives a choice with its text, the answer may be of the text's kind."""
    several = names_several(gold, kind)
    predicted = extract_answer(parts, kind=kind, choices=job.choices, is_cut=is_cut, several=several)
    if predicted is not None and kind in MATHS:
        predicted = value_asked_for(predicted, job.question)
    text = text_of_choice(gold) if kind is AnswerKind.CHOICE and not job.choices else None
    if text is None or (predicted is not None and choice_of(predicted, ()) is not None):
        return predicted
    return extract_answer(parts, kind=infer_kind(text), is_cut=is_cut, several=several) or predicted


def _without_gold(*, is_cut: bool, is_empty: bool) -> VerdictKind:
    """The verdict on general data, which only requires a complete, non-empty text."""
    if is_cut:
        return VerdictKind.TRUNCATED
    return VerdictKind.UNPARSED if is_empty else VerdictKind.UNCHECKED


def resolve(pending: Pending, outcome: Outcome) -> Verdict:
    """The verdict, given the outcome of its check."""
    return dataclasses.replace(pending.verdict, verdict=outcome.kind, detail=outcome.detail)
