"""The evaluation summary of a model as JSON data: stored by evaluation, read by report and registry.

    {"ks": [1, 4, 8],
     "splits": {"test": {"overall": MEASURES, "by_task": {TASK: MEASURES}, "by_num_steps": {"3": MEASURES}}}}

MEASURES holds num_problems, num_samples, an {"mean", "standard_error"} for each of pass@1, pass@K and majority@K
(largest K), the shares template_ok and truncated (stopped by the token limit, whatever the verdict), mean_num_tokens,
the share of samples that failed on our side, and the count of each verdict in verdicts. Failed samples count in failed
and verdicts alone; a problem with fewer than k remaining samples is left out of pass@k and majority@k, which are left
out where no problem remains.
"""

import dataclasses
import statistics
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from stillery.metrics.accuracy import count_correct, estimate, group_by_problem, majority_at_k, pass_at_k
from stillery.records import FAILURES, Score


def summarize(scores: Sequence[Score], *, ks: Sequence[int]) -> dict[str, Any]:
    """The measures of one model's samples, for each split: overall, by task, and by number of steps where known.

    Unparsed and truncated samples are not correct, and differ from wrong ones in `verdicts`. Unchecked samples appear
    in `verdicts` alone; a group in which nothing was checked is left out.

    Raises ValueError if a problem has fewer samples than the largest k, failed ones included.
    """
    all_ks = sorted({1, *ks})
    splits = {
        split: {
            "overall": _measure(rows, ks=all_ks),
            "by_task": _measure_groups(rows, lambda score: score.task, ks=all_ks),
            "by_num_steps": _measure_groups(rows, lambda score: score.num_steps, ks=all_ks),
        }
        for split, rows in _groups(scores, lambda score: score.split).items()
    }
    return {"ks": all_ks, "splits": splits}


def _measure_groups(scores: Sequence[Score], key: Callable[[Score], Any], *, ks: Sequence[int]) -> dict[str, Any]:
    return {str(value): _measure(rows, ks=ks) for value, rows in _groups(scores, key).items()}


def _groups(scores: Sequence[Score], key: Callable[[Score], Any]) -> dict[Any, list[Score]]:
    """Scores by key, in order of key, without those that have no key and groups without checked samples."""
    groups: dict[Any, list[Score]] = {}
    for score in scores:
        if (value := key(score)) is not None:
            groups.setdefault(value, []).append(score)
    return {value: groups[value] for value in sorted(groups) if group_by_problem(groups[value])}


def _measure(scores: Sequence[Score], *, ks: Sequence[int]) -> dict[str, Any]:
    problems = group_by_problem(scores)
    checked = [sample for samples in problems.values() for sample in samples]
    num_failed = sum(score.verdict in FAILURES for score in scores)
    measures: dict[str, Any] = {"num_problems": len(problems), "num_samples": len(checked)}
    failures = Counter(score.prompt_id for score in scores if score.verdict in FAILURES)
    for k in ks:
        # Without failures every problem has enough samples, or pass_at_k reports which k is too large.
        enough = [samples for problem, samples in problems.items() if len(samples) >= k or not failures[problem]]
        if enough:
            rates = [pass_at_k(len(samples), count_correct(samples), k) for samples in enough]
            measures[f"pass@{k}"] = _mean_and_error(rates)
        if enough and k == ks[-1]:
            measures[f"majority@{k}"] = _mean_and_error([majority_at_k(samples, k) for samples in enough])
    return measures | {
        "failed": num_failed / (num_failed + len(checked)),
        "template_ok": statistics.fmean(sample.template == "ok" for sample in checked),
        "truncated": statistics.fmean(sample.finish_reason == "length" for sample in checked),
        "mean_num_tokens": statistics.fmean(sample.num_tokens for sample in checked),
        "verdicts": dict(sorted(Counter(score.verdict for score in scores).items())),
    }


def _mean_and_error(values: Sequence[float]) -> dict[str, float | None]:
    fields = dataclasses.asdict(estimate(values))
    return {"mean": fields["mean"], "standard_error": fields["standard_error"]}
