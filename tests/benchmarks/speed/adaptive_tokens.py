#!/usr/bin/env python3
"""Teacher tokens of adaptive best-of-n against the smallest fixed n that covers as many prompts.

    python tests/benchmarks/speed/adaptive_tokens.py [--prompts 200] [--most 16] [--accepted 4] [--futility 0.1]

A prompt is covered if `accepted` different samples of it are accepted. Both sides sample the embedded teacher through
the pipeline with the same seeds, each into a log of its own, one after the other. Every token that a teacher made
counts, surplus too; none is aborted, since what has been launched is always finished and logged. What prompts are given
up at each `futility` is worked out from the fixed side's samples, of which the rule takes the first so many; that at 0
must come to what was sampled.
"""

import argparse
import os
import sys
import tempfile
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parents[3]
sys.path[:0] = [str(ROOT / "platform"), str(ROOT / "tests")]
os.environ.setdefault("RAY_AUTH_MODE", "disabled")

from stillery.cluster import connect as cluster  # noqa: E402
from stillery.config import Config, load_config  # noqa: E402
from stillery.io.run_folder import open_run  # noqa: E402
from stillery.io.storage import Folder  # noqa: E402
from stillery.metrics import StoppingRule  # noqa: E402
from stillery.records import Generation, Prompt, from_table  # noqa: E402
from stillery.sampling import sampler  # noqa: E402
from stillery.sampling.backend import teacher_backend  # noqa: E402
from stillery.sampling.prompting import messages_of  # noqa: E402
from stillery.stages.generate.judging import VerdictJudge, start_grader  # noqa: E402
from stillery.stages.prompts import make_prompts  # noqa: E402
from stillery.verify.acceptance import Acceptance  # noqa: E402
from stillery.verify.rows import grade_rows  # noqa: E402
from support.ratios import Ratio, add_json_option, write_ratios  # noqa: E402

Samples = dict[str, list[Generation]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prompts", type=int, default=200)
    parser.add_argument("--most", type=int, default=16, help="n: the most samples of a prompt")
    parser.add_argument("--accepted", type=int, default=4, help="k: enough accepted ones")
    parser.add_argument("--lookahead", type=int, default=0, help="samples that may run beyond what is missing")
    parser.add_argument("--futility", type=float, nargs="*", default=[0.05, 0.1, 0.2])
    add_json_option(parser)
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="stillery-trial-"))
    sizes = [f"prompts.num_train={options.prompts}", "prompts.num_validation=6", "prompts.num_test=6"]
    sizes += ["prompts.num_longer=6", "prompts.num_held_out=1", "cluster.address=local", f"run.dir={folder}/run"]
    config = load_config(ROOT / "jobs" / "configs" / "demo.yaml", sizes)
    cluster.connect(config.cluster)
    make_prompts(config.prompts, seed=0, out=Folder(f"{folder}/prompts"))
    prompts = train_prompts(Folder(f"{folder}/prompts"))
    source = Folder(f"{folder}/prompts")
    fixed = sample(config, source, f"{folder}/fixed", most=options.most, target_accepted=None)
    adaptive = sample(config, source, f"{folder}/adaptive", most=options.most, target_accepted=options.accepted,
                      lookahead=options.lookahead)  # fmt: skip
    rules = [StoppingRule(options.most, options.accepted, futility) for futility in (0.0, *options.futility)]
    ratios = report(config, prompts, fixed, adaptive, rules)
    aims = {0.1: 0.5}
    write_ratios(
        options.json,
        [
            Ratio(f"adaptive best-of-n, futility {futility:g}, tokens to fixed n", ratio, aims.get(futility, 1.0), True)
            for futility, ratio in ratios.items()
        ],
    )


def train_prompts(source: Folder) -> list[Prompt]:
    return [p for p in from_table(source.read_all(Prompt), Prompt) if p.split == "train"]


def sample(
    config: Config,
    source: Folder,
    folder: str,
    *,
    most: int,
    target_accepted: int | None,
    lookahead: int = 0,
) -> Samples:
    """All samples that were made of each prompt, in order of index."""
    prompts = train_prompts(source)
    judge = VerdictJudge(start_grader(config.verify, config.curate, source)) if target_accepted is not None else None
    config.run.dir = folder
    made: Samples = defaultdict(list)
    with open_run(config) as run:
        samples = sampler.sample(
            prompts, [messages_of(prompt) for prompt in prompts], source=teacher_backend(config.teacher, logs=run.logs),
            engine=config.teacher, sampling={**config.teacher.sampling, "seed": 0}, num_samples=most, run=run,
            label=Path(folder).name, target_accepted=target_accepted, lookahead=lookahead, judge=judge,
        )  # fmt: skip
        for table in samples.tables(rows=10_000):
            for row in from_table(table, Generation):
                made[row.prompt_id].append(row)
    return made


def report(
    config: Config, prompts: list[Prompt], fixed: Samples, adaptive: Samples, rules: Sequence[StoppingRule]
) -> dict[float, float]:
    """Print the fixed sizes, then each adaptive side against the smallest of them that covers as many prompts. Returns
    the ratio of tokens by futility."""
    by_id = {prompt.prompt_id: prompt for prompt in prompts}
    most, accepted = rules[0].num_samples, rules[0].target
    sizes = range(accepted, most + 1)
    marks = accepted_marks(config, fixed, by_id)
    covered = {n: sum(sum(row[:n]) >= accepted for row in marks.values()) for n in sizes}
    tokens = {n: sum(row.num_tokens for rows in fixed.values() for row in rows[:n]) for n in sizes}
    print(f"\n{'':<28}{'prompts covered':>16}{'samples':>10}{'tokens':>12}{'surplus':>10}{'ratio':>8}  to fixed n")
    for n in sizes:
        print(f"fixed n={n:<20}{covered[n]:>16}{n * len(prompts):>10,}{tokens[n]:>12,}")
    sides = {f"adaptive k={accepted}, as sampled": (adaptive, accepted_marks(config, adaptive, by_id))}
    for rule in rules:
        stops = {prompt: stop_of(rule, row) for prompt, row in marks.items()}
        name = f"by rule, futility {rule.futility:g}"
        sides[name] = (
            {prompt: fixed[prompt][:stop] for prompt, stop in stops.items()},
            {prompt: marks[prompt][:stop] for prompt, stop in stops.items()},
        )
    ratios: list[float] = []
    for name, (made, accepted_ones) in sides.items():
        num_covered = sum(sum(row) >= accepted for row in accepted_ones.values())
        rows = [row for samples in made.values() for row in samples]
        spent, surplus = sum(row.num_tokens for row in rows), sum(row.num_tokens for row in rows if row.surplus)
        equal = next((n for n in sizes if covered[n] >= num_covered), most)
        ratios.append(spent / tokens[equal])
        print(
            f"{name:<28}{num_covered:>16}{len(rows):>10,}{spent:>12,}{surplus:>10,}{ratios[-1]:>8.2f}"
            f"  {equal}{'' if covered[equal] >= num_covered else ', which covers fewer'}"
        )
    # The first is what was sampled, which the rule at 0 comes to.
    return {rule.futility: ratio for rule, ratio in zip(rules, ratios[1:], strict=True)}


def stop_of(rule: StoppingRule, accepted: Sequence[bool]) -> int:
    """After how many samples the rule stops a prompt."""
    return next(n for n in range(1, len(accepted) + 1) if rule.stops(n, sum(accepted[:n])))


def accepted_marks(config: Config, made: Samples, by_id: dict[str, Prompt]) -> dict[str, list[bool]]:
    """For each prompt whether each of its samples, in order of index, is accepted."""
    rows = [row for samples in made.values() for row in samples]
    rule = Acceptance.of(config.curate)
    keys: dict[str, set[str]] = defaultdict(set)
    marks: dict[str, list[bool]] = defaultdict(list)
    for row, verdict in zip(rows, grade_rows(config.verify, rows, by_id), strict=True):
        key = rule.key(sample_id=row.sample_id, completion=row.completion)
        is_accepted = rule.why_dropped(verdict) is None and key not in keys[row.prompt_id]
        marks[row.prompt_id].append(is_accepted)
        keys[row.prompt_id] |= {key} if is_accepted else set()
    return marks


if __name__ == "__main__":
    main()
