#!/usr/bin/env python3
"""Curation of a synthetic corpus with the parts of R1's distillation set: time, memory, and recovery of what was
planted.

    python tests/benchmarks/speed/curation_scale.py [--samples 50000 200000] [--words 60] [--raylets]

The corpus has R1's shares (maths, code, STEM, logic, general of 804,745), two samples per problem, and a known number
of planted near-duplicate problems, problems of an evaluation set, exact repeats and wrong answers. Each size runs in
its own process, without Ray, on one core; memory is its peak above that of an empty process. `--words` is the mean
length of a trace: R1's own are about a hundred times as long, too much for the disk of a small machine.

With `--raylets` the same job runs in this process and then on a Ray cluster of two nodes, both on this machine, and the
kept samples of both are compared. Exits with 1 if they differ or a node took no part.
"""

import argparse
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[3]
sys.path[:0] = [str(ROOT / "platform"), str(ROOT / "tests"), str(Path(__file__).parent)]
# Before Ray is imported: the cluster asks for no token.
os.environ["RAY_AUTH_MODE"] = "disabled"

from stillery.config import CurateConfig, DecontaminateConfig  # noqa: E402
from stillery.io.storage import Folder  # noqa: E402
from stillery.problems.tasks.words import WORDS  # noqa: E402
from stillery.records import Choice, Generation, Prompt, Sample, Verdict, from_table  # noqa: E402
from stillery.stages.curate import curate  # noqa: E402
from support.local_cluster import LocalCluster  # noqa: E402

# arXiv 2501.12948: samples by part of the 804,745.
PARTS = {"maths": 395_285, "code": 211_129, "stem": 10_124, "logic": 10_395, "general": 177_812}
PER_PROMPT = 2
PROMPTS_PER_FILE = 10_000
NEAR, HELD, REPEATED, WRONG = 0.02, 0.01, 0.05, 0.2


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, nargs="+", default=[50_000, 200_000])
    parser.add_argument("--words", type=int, default=60)
    parser.add_argument("--raylets", action="store_true")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one is not None:
        measure(Path(options.one), num_samples=options.samples[0], num_words=options.words)
        return 0
    if options.raylets:
        return compare_raylets(options.samples[0], num_words=options.words)
    print(f"{'samples':>9}{'seconds':>9}{'us a sample':>13}{'MiB':>7}   recall and precision of what was planted")
    for size in options.samples:
        with tempfile.TemporaryDirectory(prefix="curation-") as folder:
            command = [sys.executable, __file__, "--one", folder, "--samples", str(size), "--words", str(options.words)]
            print(subprocess.run(command, check=True, capture_output=True, text=True).stdout, end="", flush=True)
    return 0


def measure(root: Path, *, num_samples: int, num_words: int) -> None:
    """Make a corpus in a child process, so that its memory is not counted, curate it, and print a line."""
    child = os.fork()
    if child == 0:
        make_corpus(root, num_samples=num_samples, num_words=num_words)
        os._exit(0)
    os.waitpid(child, 0)
    folders = {name: Folder(str(root / name)) for name in ("prompts", "generations", "verdicts", "out")}
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started = time.perf_counter()
    curate(
        config_of(root),
        stopping=None,
        **{name: folders[name] for name in ("prompts", "generations", "verdicts")},
        out=folders["out"],
    )
    seconds = time.perf_counter() - started
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    found = score(folders["out"])
    print(f"{num_samples:>9,}{seconds:>9.1f}{seconds / num_samples * 1e6:>13.0f}{grown:>7.0f}   {found}")


def config_of(root: Path, **more: Any) -> CurateConfig:
    """Every stage of curation that works without molecules."""
    return CurateConfig(
        near_duplicate_prompts=0.8,
        decontaminate=DecontaminateConfig(files=[str(root / "evaluation" / "prompts.parquet")]),
        rules=["shortest"],
        mixture={"reasoning": 0.8, "general": 0.2},
        **more,
    )


def compare_raylets(num_samples: int, *, num_words: int) -> int:
    """Curate one corpus in this process and on a cluster of two nodes, and print what each keeps and how long it
    took."""
    import ray

    with tempfile.TemporaryDirectory(prefix="curation-") as folder:
        root = Path(folder)
        make_corpus(root, num_samples=num_samples, num_words=num_words, prompts_per_file=num_samples // 16)
        (root / "nodes").mkdir()
        os.environ["CURATION_NODES"] = str(root / "nodes")
        os.environ["PYTHONPATH"] = os.pathsep.join(sys.path[:3])
        here = _timed(root, "here")
        with LocalCluster(root / "home") as cluster:
            cluster.start_head(num_cpus=1)
            cluster.start_workers("second")
            ray.init(address=cluster.gcs, _node_ip_address=cluster.head.address, log_to_driver=False)
            there = _timed(root, "on two raylets")
            ray.shutdown()
        nodes = len([path for path in (root / "nodes").iterdir() if path.name != "none"])
        print(f"the same ids in the same order: {here == there}; nodes that curated a file: {nodes}")
        return int(here != there or nodes != 2)


def _timed(root: Path, where: str) -> list[str]:
    """The ids that are kept, of every stage of curation that works without molecules."""
    import ray

    config = config_of(root, near_duplicate_traces=0.8, filters=["curation_scale:note_node"])
    tables = {name: Folder(str(root / name)) for name in ("prompts", "generations", "verdicts")}
    out = Folder(str(root / where))
    started = time.perf_counter()
    summary = curate(config, stopping=None, **tables, out=out, on_ray=ray.is_initialized())
    seconds = time.perf_counter() - started
    print(f"{where}: {summary['kept']:,} of {summary['generated']:,} samples kept in {seconds:.1f} s", flush=True)
    return [sample.sample_id for sample in from_table(out.read_all(Sample), Sample)]


def note_node(*_: object) -> None:
    """A filter that drops nothing, and leaves a file named like the node that it ran on."""
    import ray

    node = ray.get_runtime_context().get_node_id() if ray.is_initialized() else "none"
    path = Path(os.environ["CURATION_NODES"], node)
    if not path.exists():
        path.touch()


def score(out: Folder) -> str:
    """The planted kind stands at the end of a prompt's id; a repeat, at that of a sample's."""
    choices = from_table((out / "choices").read_all(Choice), Choice)
    shown: list[str] = []
    for kind, reason in (("near", "near-duplicate prompt"), ("held", "contaminated"), ("repeat", "duplicate")):
        planted = {c.sample_id for c in choices if kind in (c.prompt_id.split("-")[-1], c.sample_id.split("-")[-1])}
        found = {c.sample_id for c in choices if (c.reason or "").startswith(reason)}
        if kind == "repeat":  # one of a problem that was dropped as a whole, or wrong, has another reason
            planted = {c.sample_id for c in choices if c.sample_id in planted and c.reason in (None, reason, "mixture")}
        right = len(planted & found)
        shown.append(
            f"{kind} {right / max(1, len(planted)):.3f} / {right / max(1, len(found)):.3f} of {len(planted):,}"
        )
    reasons = Counter((c.reason or "kept").partition(":")[0] for c in choices)
    return "; ".join(shown) + f"; kept {reasons['kept']:,}"


def make_corpus(root: Path, *, num_samples: int, num_words: int, prompts_per_file: int = PROMPTS_PER_FILE) -> None:
    """Write prompts, generations, verdicts and an evaluation set."""
    rng = random.Random(num_samples)
    num_prompts = num_samples // PER_PROMPT
    parts = rng.choices(list(PARTS), weights=list(PARTS.values()), k=num_prompts)
    evaluation = [_text(rng, 40) for _ in range(500)]
    prompts: list[Prompt] = []
    for number, part in enumerate(parts):
        kind, draw = "plain", rng.random()
        question = _text(rng, 45)
        if draw < NEAR and number:
            kind, words = "near", rng.choice(prompts[-1000:]).question.split()
            words[rng.randrange(len(words))] = "otherwise"
            question = " ".join(words)
        elif draw < NEAR + HELD:
            kind, question = "held", f"{rng.choice(evaluation)} {_text(rng, 5)}"
        gold = None if part == "general" else "7"
        name = f"p{number}-{kind}"
        prompts.append(Prompt(name, part, question, gold, "number", [], "synthetic", "train", None, None))
    Folder(str(root / "prompts")).write_rows("prompts.parquet", prompts, Prompt)
    held = [
        Prompt(f"e{n}", "t", text, "7", "number", [], "synthetic", "test", None, None)
        for n, text in enumerate(evaluation)
    ]
    Folder(str(root / "evaluation")).write_rows("prompts.parquet", held, Prompt)
    for file, start in enumerate(range(0, num_prompts, prompts_per_file)):
        rows = [row for prompt in prompts[start : start + prompts_per_file] for row in _samples(rng, prompt, num_words)]
        Folder(str(root / "generations")).write_rows(
            f"generations-{file:05d}.parquet", [g for g, _ in rows], Generation
        )
        Folder(str(root / "verdicts")).write_rows(f"verdicts-{file:05d}.parquet", [v for _, v in rows], Verdict)


def _samples(rng: random.Random, prompt: Prompt, num_words: int) -> list[tuple[Generation, Verdict]]:
    made: list[tuple[Generation, Verdict]] = []
    text = ""
    for index in range(PER_PROMPT):
        is_repeat = index > 0 and rng.random() < REPEATED
        text = (
            text
            if is_repeat
            else f"<think>\n{_text(rng, max(5, int(rng.expovariate(1 / num_words))))}\n</think>\n<answer>7</answer>"
        )
        name = f"{prompt.prompt_id}.{index}-{'repeat' if is_repeat else 'own'}"
        kind = (
            "unchecked" if prompt.answer is None else "wrong" if not is_repeat and rng.random() < WRONG else "correct"
        )
        if is_repeat and made[-1][1].verdict == "wrong":
            kind = "wrong"
        generation = Generation(
            sample_id=name, prompt_id=prompt.prompt_id, sample_index=index, seed=0, rendered="q", completion=text,
            finish_reason="stop", num_prompt_tokens=50, num_tokens=len(text) // 4, mean_logprob=None, model="R1",
            sampling="{}", attempt=0, surplus=False, error=None,
        )  # fmt: skip
        made.append((generation, Verdict(name, prompt.prompt_id, None, "7", "7", kind, "ok", [], None)))
    return made


def _text(rng: random.Random, num_words: int) -> str:
    return " ".join(rng.choices(WORDS, k=num_words))


if __name__ == "__main__":
    sys.exit(main())
