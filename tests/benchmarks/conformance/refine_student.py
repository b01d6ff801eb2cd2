"""Refines a distilled embedded student, by rewards and by preferences, and measures what each did.

    python tests/benchmarks/conformance/refine_student.py --dir DIR [--until sft|grpo|dpo] [KEY=VALUE ...]

A smaller demo (600 problems, 4 samples each) is distilled once; each refinement starts from the same checkpoint. All
stages are the run's own, so a run that was cut off goes on. Prints the accuracy on the test problems by task with
standard errors, paired differences, the validation curve, and seconds a step.
"""

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from stillery.config import Config, load_config
from stillery.io.run_folder import Output
from stillery.metrics import paired_gain
from stillery.pipeline.runner import run_pipeline
from stillery.records import Score, Split, from_table

CONFIG = Path(__file__).parents[3] / "jobs" / "configs" / "refine.yaml"
SMALLER = (
    "prompts.num_train=600",
    "teacher.accepted_per_prompt=null",
    "bonds.enabled=false",
    "evaluate.splits=[test,held_out]",
    "refine.validation_samples=8",
)
METHODS: dict[str, tuple[str, ...]] = {
    "grpo": ("refine.steps=30", "refine.trl.gradient_accumulation_steps=1"),
    "dpo": (
        "refine.method=dpo",
        "refine.steps=60",
        "refine.validate_every=15",
        "refine.trl={per_device_train_batch_size: 16, learning_rate: 5.0e-5, beta: 0.1}",
    ),
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dir", required=True, help="an absolute path for the run")
    parser.add_argument("--until", choices=("sft", *METHODS), default="dpo")
    parser.add_argument("overrides", nargs="*")
    parsed = parser.parse_args()
    methods = list(METHODS)[: 1 + list(METHODS).index(parsed.until)] if parsed.until in METHODS else []
    configs = {m: _config(parsed.dir, *METHODS[m], *parsed.overrides) for m in METHODS}
    run_pipeline(configs["grpo"], until="sft")
    if not methods:
        return 0
    tuned = run_pipeline(configs["grpo"], until="evaluate_sft")["evaluate_sft"]
    results = {method: run_pipeline(configs[method], until="evaluate_after") for method in methods}
    print(_table(tuned, results))
    for method, outputs in results.items():
        print(f"\n### {method}\n\n{_curve(outputs['refine'])}")
    return 0


def _config(folder: str, *overrides: str) -> Config:
    return load_config(CONFIG, [*SMALLER, f"run.dir={folder}", *overrides])


def _table(tuned: Output, results: Mapping[str, Mapping[str, Output]]) -> str:
    models = {"fine-tuned": tuned, **{method: outputs["evaluate_after"] for method, outputs in results.items()}}
    splits = {name: output.summary["splits"][Split.TEST.value] for name, output in models.items()}
    tasks = sorted(next(iter(splits.values()))["by_task"])
    rows = [["all", *(_cell(split["overall"]) for split in splits.values())]]
    rows += [[task, *(_cell(split["by_task"][task]) for split in splits.values())] for task in tasks]
    held_out = [output.summary["splits"][Split.HELD_OUT.value]["overall"] for output in models.values()]
    rows.append(["held-out task", *map(_cell, held_out)])
    rows.append(["tokens", *(f"{split['overall']['mean_num_tokens']:.0f}" for split in splits.values())])
    before = _scores(tuned)
    gains = [paired_gain(before, _scores(outputs["evaluate_after"])) for outputs in results.values()]
    rows.append(["change, 95% interval", "", *(f"{g.mean:+.3f} [{g.low:+.3f}, {g.high:+.3f}]" for g in gains)])
    return _markdown(["test pass@1", *models], rows)


def _scores(output: Output) -> list[Score]:
    return [row for row in from_table(output.folder.read_all(Score), Score) if row.split == Split.TEST]


def _cell(measures: Mapping[str, Any]) -> str:
    found = measures["pass@1"]
    return f"{found['mean']:.3f} ± {found['standard_error'] or 0:.3f}"


def _curve(output: Output) -> str:
    """The validations, with the means of the steps before each."""
    history: Sequence[dict[str, Any]] = json.loads(output.folder.read_bytes("history.json"))
    keys = {
        "reward": "reward", "reward/correct": "correct", "reward/reflection": "reflection B", "kl": "KL",
        "entropy": "entropy", "completions/mean_length": "tokens", "frac_reward_zero_std": "groups alike",
        "rewards/accuracies": "pairs told apart", "rewards/margins": "margin",
        "sampling/sampling_logp_difference/mean": "engine off by", "seconds": "s a step",
    }  # fmt: skip
    present = [key for key in keys if any(row.get(key) is not None for row in history)]
    rows: list[list[str]] = []
    since: list[dict[str, Any]] = []
    for row in history:
        if "validation/pass@1" in row:
            means = [fmean(found) if (found := _known(since, key)) else None for key in present]
            accuracy = f"{row['validation/pass@1']:.3f} ± {row['validation/standard_error']:.3f}"
            rows.append([str(row["step"]), accuracy, *("" if mean is None else f"{mean:.3g}" for mean in means)])
            since = []
        else:
            since.append(row)
    seconds = output.summary["seconds"]
    kept = f"Kept: step {output.summary['kept_step']}. The stage took {seconds:.0f} s. Stopped: "
    return f"{kept}{output.summary['stopped']}\n\n" + _markdown(
        ["step", "validation pass@1", *(keys[key] for key in present)], rows
    )


def _known(rows: Sequence[Mapping[str, Any]], key: str) -> list[float]:
    return [row[key] for row in rows if row.get(key) is not None]


def _markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


if __name__ == "__main__":
    sys.exit(main())
