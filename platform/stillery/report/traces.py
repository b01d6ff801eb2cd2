"""What the models wrote, word for word: one problem side by side, and samples of the trained student."""

import textwrap
from collections.abc import Sequence

from stillery.records import Score, Split, VerdictKind
from stillery.report.data import ReportData
from stillery.report.markup import NONE, chip, count, details, escape, paragraph, section, verbatim

# The published demonstrations of reasoning distillation solve a linear equation; `equations` is that task here.
DEMONSTRATION_TASK = "equations"


def demonstration(data: ReportData) -> str:
    """The same problem, answered by the teacher, the student before training and the student after."""
    title, identifier = "The same problem, before and after", "demonstration"
    samples = choose_samples(data)
    if not samples:
        text = "No test problem was answered by any model of this run."
        return section(title, paragraph(text, style="missing"), identifier=identifier)
    columns = [("Teacher", "teacher"), ("Student before", "before"), ("Student after", "after")]
    shown = [(name, samples.get(style)) for name, style in columns]
    problem = next(sample for _, sample in shown if sample is not None)
    note = (
        "Each model's first sample on this test problem. Chosen: the first problem (of the equations task, where "
        "there is one) that the student's first sample gets right after training and wrong before, if any. "
        "It illustrates the change; the tables measure it."
    )
    return section(
        title,
        f'<p class="question">{escape(problem.question)}</p>',
        paragraph(f"Gold answer: {problem.gold} (task: {problem.task})"),
        '<div class="columns">' + "".join(_column(name, sample) for name, sample in shown) + "</div>",
        f'<p class="note">{note}</p>',
        identifier=identifier,
    )


def choose_samples(data: ReportData) -> dict[str, Score]:
    """Each model's first sample of the demonstrated problem, by the model's style; empty if there is none."""
    prompt_id = choose_problem(data)
    if prompt_id is None:
        return {}
    found = {style: _first_sample(evaluation.scores, prompt_id) for style, _, evaluation in data.models}
    return {style: sample for style, sample in found.items() if sample is not None}


def choose_problem(data: ReportData) -> str | None:
    """The id of the demonstrated problem: see the note that the page carries.

    Problems are taken in the order in which they were evaluated, those of DEMONSTRATION_TASK alone where present.
    """
    if not data.models:
        return None
    reference = data.after or data.models[0][2]
    scores = [score for score in reference.scores if score.split == Split.TEST]
    scores = [score for score in scores if score.task == DEMONSTRATION_TASK] or scores
    problems = list(dict.fromkeys(score.prompt_id for score in scores))
    before, after = (_first_correct(e.scores) if e else {} for e in (data.before, data.after))
    mended = [problem for problem in problems if after.get(problem) and not before.get(problem, False)]
    return next(iter(mended or problems), None)


def samples(data: ReportData) -> str:
    """Samples of the trained student on test problems: some right, some wrong, and the longest."""
    title, identifier = "Samples of the trained student", "traces"
    if data.after is None:
        text = "The student was not evaluated after training, so there are no samples to show."
        return section(title, paragraph(text, style="missing"), identifier=identifier)
    scores = [score for score in data.after.scores if score.split == Split.TEST] or list(data.after.scores)
    right = [score for score in scores if score.verdict == VerdictKind.CORRECT]
    wrong = [score for score in scores if score.verdict != VerdictKind.CORRECT]
    kinds = [
        ("Correct", _spread(right, data.num_traces)),
        ("Not correct", _spread(wrong, data.num_traces)),
        ("Longest", sorted(scores, key=lambda score: -score.num_tokens)[: data.num_traces]),
    ]
    parts = [f"<h3>{escape(name)}</h3>" + ("".join(map(_trace, found)) or paragraph("None.")) for name, found in kinds]
    return section(title, *parts, identifier=identifier)


def _spread(scores: Sequence[Score], wanted: int) -> list[Score]:
    """Evenly spaced over the list, so that not all come from the first task."""
    step = max(len(scores) / wanted, 1.0) if wanted else 1.0
    return [scores[int(step * index)] for index in range(min(wanted, len(scores)))]


def _trace(score: Score) -> str:
    excerpt = textwrap.shorten(score.question, 100, placeholder=" …")
    summary = (
        f'{chip(score.verdict)} <span class="task">{escape(score.task)}</span> '
        f'<span class="excerpt">{count(score.num_tokens)} tokens: {escape(excerpt)}</span>'
    )
    body = (
        f'<p class="question">{escape(score.question)}</p>{_answers(score)}'
        f"{verbatim(score.completion, label='Completion')}"
    )
    return details(summary, body)


def _column(name: str, sample: Score | None) -> str:
    if sample is None:
        return f"<article><h3>{escape(name)}</h3>{paragraph('Not evaluated on it.', style='missing')}</article>"
    return (
        f"<article><h3>{escape(name)} {chip(sample.verdict)}</h3>"
        f"{verbatim(sample.completion, label=f'Output: {name}')}"
        f"{paragraph(f'Graded answer: {_answer(sample)} ({count(sample.num_tokens)} tokens)')}</article>"
    )


def _answers(score: Score) -> str:
    return paragraph(
        f"Gold answer: {score.gold}; graded answer: {_answer(score)}; template: {score.template.replace('_', ' ')}."
    )


def _answer(score: Score) -> str:
    return NONE if score.predicted is None else score.predicted


def _first_sample(scores: Sequence[Score], prompt_id: str) -> Score | None:
    found = [score for score in scores if score.prompt_id == prompt_id]
    return min(found, key=lambda score: score.sample_index, default=None)


def _first_correct(scores: Sequence[Score]) -> dict[str, bool]:
    """Whether the first sample of each problem is correct."""
    first: dict[str, Score] = {}
    for score in scores:
        if score.prompt_id not in first or score.sample_index < first[score.prompt_id].sample_index:
            first[score.prompt_id] = score
    return {problem: score.verdict == VerdictKind.CORRECT for problem, score in first.items()}
