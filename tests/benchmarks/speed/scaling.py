#!/usr/bin/env python3
"""A million prompts with 16 samples each on 8 to 512 GPUs: the time of each part, by the scaling model.

    python tests/benchmarks/speed/scaling.py [--completion-tokens 2000] [--units 400]

First measures the CPU time per unit, in one process, of everything but generation (ids, log files, checking, molecules,
curation), on synthetic traces of that length; then prints the table. Generation is an assumption: tokens per second of
one replica, given as --tokens-per-s. docs/guides/scaling.md draws the conclusions.
"""

import argparse
import dataclasses
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).parents[3]
sys.path[:0] = [str(ROOT / "platform")]

from stillery.bonds.analysis import analyze  # noqa: E402
from stillery.config import CurateConfig, VerifyConfig  # noqa: E402
from stillery.curation.choosing import choose  # noqa: E402
from stillery.curation.samples import to_sample  # noqa: E402
from stillery.io.storage import Folder  # noqa: E402
from stillery.plan.scaling import Costs, Hardware, Scaled, Workload, scale  # noqa: E402
from stillery.records import Generation, Prompt, RenderedPrompt, Verdict, from_table, to_table  # noqa: E402
from stillery.sampling.batch import MAX_FLUSH_S  # noqa: E402
from stillery.sampling.inventory import Inventory, PromptSamples  # noqa: E402
from stillery.sampling.sample_log import SampleLog  # noqa: E402
from stillery.sampling.sampler import SampledPrompts  # noqa: E402
from stillery.sampling.sampling_plan import SamplingPlan  # noqa: E402
from stillery.verify.rows import grade_rows  # noqa: E402
from support.scripted_teacher import CHARACTERS_PER_TOKEN, PROMPT_TOKENS, answer_to, question, trace  # noqa: E402

GPUS = (8, 16, 32, 64, 128, 256, 512)
# Of the driver, for what an engine tells of one file, and for each second of waiting: docs/guides/scaling.md.
TALLY_S, WAIT_SHARE = 0.0053, 0.05
SAMPLING = {"temperature": 0.6, "top_p": 0.95, "max_tokens": 16384, "seed": 0}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prompts", type=int, default=1_000_000)
    parser.add_argument("--samples", type=int, default=16)
    parser.add_argument("--completion-tokens", type=float, default=2000)
    parser.add_argument("--units", type=int, default=400, help="samples that the costs are measured on")
    parser.add_argument("--tokens-per-s", type=float, default=4000, help="of one replica: an assumption")
    parser.add_argument("--gpus-per-replica", type=int, default=4)
    parser.add_argument("--cpus-per-gpu", type=float, default=8)
    parser.add_argument("--network-gb-per-s", type=float, default=1.0, help="into the checking node: an assumption")
    parser.add_argument("--flush-s", type=float, default=MAX_FLUSH_S)
    parser.add_argument("--tally-s", type=float, default=TALLY_S, help="of the driver, by scaling_nodes.py")
    parser.add_argument("--wait-share", type=float, default=WAIT_SHARE, help="of the driver, by scaling_nodes.py")
    parser.add_argument("--verify-processes", type=int, default=1)
    options = parser.parse_args()
    costs = measure(
        options.units,
        characters=int(options.completion_tokens * CHARACTERS_PER_TOKEN),
        tally_s=options.tally_s,
        wait_share=options.wait_share,
    )
    print(
        "measured, one process: " + ", ".join(f"{k} {v:.3g}" for k, v in dataclasses.asdict(costs).items()), flush=True
    )
    workload = Workload(options.prompts, options.samples, options.completion_tokens)
    rows: list[tuple[int, Scaled]] = []
    for num_gpus in GPUS:
        hardware = Hardware(
            num_gpus,
            options.gpus_per_replica,
            options.tokens_per_s,
            options.cpus_per_gpu,
            options.network_gb_per_s * 1e9,
        )
        found = scale(workload, hardware, costs, flush_s=options.flush_s, verify_processes=options.verify_processes)
        rows.append((num_gpus, found))
    print_table(rows)


def print_table(rows: list[tuple[int, Scaled]]) -> None:
    parts = list(rows[0][1].seconds)
    print("| GPUs | " + " | ".join(f"{part}, h" for part in parts) + " | longest | idle GPUs |")
    print("|" + "---|" * (len(parts) + 3))
    for num_gpus, found in rows:
        hours = " | ".join(f"{found.seconds[part] / 3600:,.2f}" for part in parts)
        idle = found.beside_generation / (1 + found.beside_generation)
        print(f"| {num_gpus} | {hours} | {found.bottleneck} | {idle:.0%} |")
    first = rows[0][1]
    print(
        f"\n{first.num_files:,.0f} files are written, {first.num_files_left:,.0f} are left; the driver's inventory "
        f"takes {first.driver_bytes / 2**20:.0f} MiB; beside generation it works {first.driver_beside_s / 3600:.1f} h "
        f"on 8 GPUs, {rows[-1][1].driver_beside_s / 3600:.1f} h on {rows[-1][0]}"
    )


def measure(units: int, *, characters: int, tally_s: float = TALLY_S, wait_share: float = WAIT_SHARE) -> Costs:
    """What one unit costs in this process, on `units` made-up samples of `characters`."""
    prompts, generations = make_samples(units, characters=characters)
    with tempfile.TemporaryDirectory(prefix="stillery-trial-") as folder:
        log = SampleLog(Folder(folder) / "log")
        plan = SamplingPlan("model", SAMPLING, 16, log, 128)
        asked = [RenderedPrompt(prompt.prompt_id, prompt.question, []) for prompt in prompts.values()]
        generations = [
            dataclasses.replace(row, sample_id=plan.sample_id(asked[number // 16], row.sample_index))
            for number, row in enumerate(generations)
        ]
        for number, start in enumerate(range(0, units, 128), start=1):
            log.append("batch", generations[start : start + 128], number=number)
        log.compact("batch")
        inventory = Inventory(asked, plan=plan)
        index_s = seconds(lambda: inventory.look({})) / units
        located = [RenderedPrompt(p.prompt_id, p.rendered, sorted(inventory.of(p).files)) for p in asked]
        samples = SampledPrompts(located, Counter(row.prompt_id for row in generations), plan)
        out = Folder(folder) / "out"
        row_s = seconds(lambda: [out.write_table("g.parquet", part) for part in samples.tables(rows=20_000)]) / units
        size = sum(file.stat().st_size for file in (Path(folder) / "log" / "batch").iterdir()) / units
        held = inventory.of(asked[0])
        index_bytes = sum(sys.getsizeof(getattr(held, field.name)) for field in dataclasses.fields(PromptSamples))
    table = to_table(generations, Generation)
    read_s = seconds(lambda: from_table(table, Generation)) / units
    id_s = seconds(lambda: [plan.sample_id(asked[number // 16], number % 16) for number in range(units)]) / units
    verdicts: list[Verdict] = []
    verify_s = seconds(lambda: verdicts.extend(grade_rows(VerifyConfig(num_processes=1), generations, prompts))) / units
    bonds_s = seconds(lambda: [analyze(row.completion, markers=False) for row in generations[:20]]) / 20
    pairs = list(zip(generations, verdicts, strict=True))
    kept = [choose(CurateConfig(), pairs[start : start + 16]) for start in range(0, units, 16)]
    curate_s = seconds(
        lambda: [
            to_sample(row, prompts[row.prompt_id])
            for start in range(0, units, 16)
            for row in choose(CurateConfig(), pairs[start : start + 16])[0]
        ]
    )
    assert any(rows for rows, _ in kept), "none of the made-up samples was kept"
    return Costs(
        verify_s=verify_s,
        bonds_s=bonds_s,
        # Reading a generation again with its verdict is most of curation.
        curate_s=curate_s / units + read_s,
        index_s=index_s - id_s,
        row_s=row_s - id_s,
        # Both work out the id of each sample.
        id_s=id_s,
        tally_s=tally_s,
        wait_share=wait_share,
        # A dict's slot is 8 + 24 bytes at two thirds full; file names are shared.
        index_bytes=index_bytes + sys.getsizeof(held) + 48,
        sample_bytes=size,
    )


def seconds(work: Callable[[], object]) -> float:
    """CPU seconds of this process, which other programs on the machine do not lengthen much. Waiting for a disk or an
    object store is not in them."""
    started = time.process_time()
    work()
    return time.process_time() - started


def make_samples(units: int, *, characters: int) -> tuple[dict[str, Prompt], list[Generation]]:
    """Traces of random sums, half of them ending right, 16 to a problem."""
    draw = random.Random(0)
    prompts: dict[str, Prompt] = {}
    generations: list[Generation] = []
    for number in range(units):
        problem = f"p{number // 16}"
        answer = str(number // 16 + 7)
        prompts[problem] = Prompt(
            prompt_id=problem,
            task="sums",
            question=question(number // 16),
            answer=answer,
            answer_kind="number",
            choices=[],
            source="trial",
            split="train",
            num_steps=None,
            facts=None,
        )
        generations.append(make_generation(number, prompts[problem], draw, characters=characters))
    return prompts, generations


def make_generation(number: int, prompt: Prompt, draw: random.Random, *, characters: int) -> Generation:
    said = answer_to(prompt.question, is_right=bool(number % 2))
    return Generation(
        sample_id=f"{number:064x}",
        prompt_id=prompt.prompt_id,
        sample_index=number % 16,
        seed=number,
        rendered=prompt.question,
        completion=trace(said, draw, characters),
        finish_reason="stop",
        num_prompt_tokens=PROMPT_TOKENS,
        num_tokens=int(characters / CHARACTERS_PER_TOKEN),
        mean_logprob=-0.3,
        model="model",
        sampling="{}",
        attempt=0,
        surplus=False,
        error=None,
    )


if __name__ == "__main__":
    main()
