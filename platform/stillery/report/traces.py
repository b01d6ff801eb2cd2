"""The choice of model texts that the report shows verbatim: one problem side by side, and samples of the trained
student."""

from collections.abc import Sequence

from stillery.records import Score, Split, VerdictKind
from stillery.report.data import ReportData

# The published demonstrations of reasoning distillation solve a linear equation; `equations` is that task here.
DEMONSTRATION_TASK = "equations"


def choose_samples(data: ReportData) -> dict[str, Score]:
    """Each model's first sample of the demonstrated problem, by the model's style; empty if there is none."""
    prompt_id = choose_problem(data)
    if prompt_id is None:
        return {}
    found = {style: _first_sample(evaluation.scores, prompt_id) for style, _, evaluation in data.models}
    return {style: sample for style, sample in found.items() if sample is not None}


def choose_problem(data: ReportData) -> str | None:
    """The id of the demonstrated problem: see the note on the page.

    Problems are considered in the order of evaluation, only those of DEMONSTRATION_TASK where present.
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


def choose_traces(data: ReportData) -> list[tuple[str, list[Score]]]:
    """Samples of the trained student on test problems: some right, some wrong, and the longest."""
    if data.after is None:
        return []
    scores = [score for score in data.after.scores if score.split == Split.TEST] or list(data.after.scores)
    right = [score for score in scores if score.verdict == VerdictKind.CORRECT]
    wrong = [score for score in scores if score.verdict != VerdictKind.CORRECT]
    longest = sorted(scores, key=lambda score: -score.num_tokens)[: data.num_traces]
    return [
        ("Correct", _spread(right, data.num_traces)),
        ("Not correct", _spread(wrong, data.num_traces)),
        ("Longest", longest),
    ]


def _spread(scores: Sequence[Score], wanted: int) -> list[Score]:
    """A choice spaced evenly over the list, so that not all come from the first task."""
    step = max(len(scores) / wanted, 1.0) if wanted else 1.0
    return [scores[int(step * index)] for index in range(min(wanted, len(scores)))]


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
