#!/usr/bin/env python3
"""Does stability separate right traces from wrong ones? AUC with 95% intervals, beside simple baselines.

    python tests/benchmarks/conformance/stability_auc.py [--embedded RUN ...] [--sets embedded qwen25math ...]

AUC is the share of pairs of a right and a wrong trace in which the right one has the higher score, ties counting half.
Only pairs of one problem count (of one model and domain for ReasoningFlow, whose problems have one trace per model).
Intervals: percentiles of 2,000 bootstrap samples of the problems. `--embedded` takes run folders with a finished
`generate`; if there are several, the formula was developed on the first. Of qwen25math the even-numbered problems were
for development, and the odd ones are for the report.
"""

import argparse
import gzip
import json
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

ROOT = Path(__file__).parents[3]
sys.path[:0] = [str(ROOT / "platform"), str(ROOT / "tests")]

from stillery.bonds.analysis import dissect  # noqa: E402
from stillery.io.storage import Folder  # noqa: E402
from stillery.records import Generation, Prompt, VerdictKind  # noqa: E402
from stillery.verify import grade  # noqa: E402
from support.shared_data import shared_data  # noqa: E402

TOPOLOGY = ("math500_deepseek_r1", "pilot_math500_llama8b", "pilot_math500_qwen7b", "pilot_math500_r1")
SETS = ("embedded", "qwen25math", "trace_topology", "reasoningflow")
NUM_RESAMPLES = 2000


@dataclass(frozen=True)
class Trace:
    """One trace that was graded. Pairs are formed within a `stratum`, problems are resampled."""

    part: str
    stratum: str
    problem: str
    question: str
    text: str
    is_right: bool


def embedded(runs: list[Path]) -> Iterator[Trace]:
    for number, run in enumerate(runs):
        prompts = {p.prompt_id: p for folder in _outputs(run, "prompts") for p in _rows(folder, Prompt)}
        for folder in _outputs(run, "generate"):
            for sample in _rows(folder, Generation):
                prompt = prompts[sample.prompt_id]
                right = _grade(sample.completion, prompt.answer or "", prompt.answer_kind)
                if right is not None:
                    part = "embedded, made on" if number == 0 else "embedded, fresh"
                    yield Trace(part, prompt.prompt_id, prompt.prompt_id, prompt.question, sample.completion, right)


def _outputs(run: Path, stage: str) -> list[Folder]:
    return [Folder(str(manifest.parent)) for manifest in sorted((run / "stages" / stage).glob("*/manifest.json"))]


def _rows(folder: Folder, record: type[Any]) -> Iterator[Any]:
    for name in folder.names(".parquet"):
        yield from folder.read_rows(name, record)


def _grade(text: str, answer: str, kind: str = "auto") -> bool | None:
    """Whether an answer is right; None for a trace that was cut off or gives none, which is neither."""
    verdict = grade(text, answer=answer, answer_kind=kind).verdict
    return {VerdictKind.CORRECT: True, VerdictKind.WRONG: False}.get(VerdictKind(verdict))


def qwen25math() -> Iterator[Trace]:
    for line in shared_data("qwen25math/math_cot_100.jsonl").read_text().splitlines():
        row = json.loads(line)
        part = "qwen25math, even (made on)" if row["idx"] % 2 == 0 else "qwen25math, odd"
        for text, score in zip(row["code"], row["score"], strict=True):
            yield Trace(part, str(row["idx"]), str(row["idx"]), row["question"], text, bool(score))


def trace_topology() -> Iterator[Trace]:
    for name in TOPOLOGY:
        for line in shared_data(f"trace_topology/{name}.jsonl").read_text().splitlines():
            row = json.loads(line)
            right = _grade(row["full_response"], row["ground_truth"])
            if right is not None:
                item = row["item_id"]
                yield Trace("trace_topology", item, item, row["problem"], row["full_response"], right)


def reasoningflow() -> Iterator[Trace]:
    with gzip.open(shared_data("reasoningflow/traces.jsonl.gz"), "rt") as lines:
        for line in lines:
            row = json.loads(line)
            if row["correct"] is not None:
                stratum = f"{row['generator']}, {row['domain']}"
                part = f"reasoningflow: {stratum}"
                yield Trace(part, stratum, row["question_id"], row["question"], row["response"], row["correct"])


def score(trace: Trace) -> dict[str, float]:
    """Stability and baselines; of each, more is to mean better."""
    found = dissect(trace.text, question=trace.question, markers=False)
    claims = [claim for atom in found.molecule.atoms for claim in atom.claims if claim.kind != "answer"]
    kinds = [bond.kind for bond in found.molecule.bonds]
    parts = asdict(found.parts)
    return {
        "stability": found.molecule.stability,
        "support": parts["support"],
        "verified": parts["verified"],
        "-unused": -parts["unused"],
        "-given up": -parts["given_up"],
        "-conflict": -parts["conflict"],
        "-length": -len(trace.text),
        "-reflections": -sum(kind == "reflection_verification" for kind in kinds),
        "-false claims": -sum(claim.holds is False for claim in claims),
    }


def auc(traces: list[Trace], scores: NDArray[np.float64], *, seed: int = 0) -> tuple[float, float, float, int, int]:
    """AUC within strata, its interval, and the numbers of pairs and of problems that have any."""
    problems = sorted({trace.problem for trace in traces})
    place = {problem: index for index, problem in enumerate(problems)}
    rng = np.random.default_rng(seed)
    drawn = rng.multinomial(len(problems), np.full(len(problems), 1 / len(problems)), size=NUM_RESAMPLES)
    weights = np.concatenate([np.ones((1, len(problems))), drawn])
    won, total = np.zeros(len(weights)), np.zeros(len(weights))
    strata: dict[str, list[int]] = defaultdict(list)
    for index, trace in enumerate(traces):
        strata[trace.stratum].append(index)
    num_pairs, paired = 0, set[str]()
    for members in strata.values():
        right = [i for i in members if traces[i].is_right]
        wrong = [i for i in members if not traces[i].is_right]
        if not right or not wrong:
            continue
        left, other = scores[right][:, None], scores[wrong][None, :]
        wins = (left > other) + 0.5 * (left == other)
        one, two = (weights[:, [place[traces[i].problem] for i in side]] for side in (right, wrong))
        is_one_problem = len({traces[i].problem for i in members}) == 1
        # Pairs of one problem are drawn as often as it is, pairs of two as often as both together.
        scale = 1 / np.maximum(one[:, 0], 1) if is_one_problem else np.ones(len(weights))
        won += scale * np.einsum("bi,ij,bj->b", one, wins, two)
        total += scale * one.sum(axis=1) * two.sum(axis=1)
        num_pairs += len(right) * len(wrong)
        paired |= {traces[i].problem for i in members}
    share = won / np.where(total > 0, total, np.nan)
    low, high = np.nanquantile(share[1:], [0.025, 0.975])
    return float(share[0]), float(low), float(high), num_pairs, len(paired)


def table(rows: Iterable[tuple[str, list[Trace], list[dict[str, float]]]]) -> None:
    print("| traces | right, wrong | problems, pairs | " + " | ".join(NAMES) + " |")
    print("|---|---|---|" + "---|" * len(NAMES))
    for name, traces, found in rows:
        num_right = sum(trace.is_right for trace in traces)
        cells: list[str] = []
        shape = "none"
        if any(_is_mixed(traces, stratum) for stratum in {t.stratum for t in traces}):
            for measure in NAMES:
                value, low, high, pairs, problems = auc(traces, np.array([row[measure] for row in found]))
                cells.append(f"{value:.2f} ({low:.2f} to {high:.2f})")
                shape = f"{problems}, {pairs}"
        print(f"| {name} | {num_right}, {len(traces) - num_right} | {shape} | " + " | ".join(cells) + " |", flush=True)


NAMES = (
    "stability", "support", "verified", "-unused", "-given up", "-conflict", "-length", "-reflections", "-false claims"
)  # fmt: skip


def _is_mixed(traces: list[Trace], stratum: str) -> bool:
    return len({trace.is_right for trace in traces if trace.stratum == stratum}) == 2


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--embedded", type=Path, nargs="*", default=[], help="run folders of the embedded teacher")
    parser.add_argument("--sets", nargs="+", choices=SETS, default=list(SETS))
    parsed = parser.parse_args()
    sources: dict[str, Callable[[], Iterator[Trace]]] = {
        "embedded": lambda: embedded(parsed.embedded),
        "qwen25math": qwen25math,
        "trace_topology": trace_topology,
        "reasoningflow": reasoningflow,
    }
    traces = [trace for name in parsed.sets for trace in sources[name]()]
    found = [score(trace) for trace in traces]
    parts = list(dict.fromkeys(trace.part for trace in traces))
    groups = [(part, [i for i, trace in enumerate(traces) if trace.part == part]) for part in parts]
    whole = [i for i, trace in enumerate(traces) if trace.part.startswith("reasoningflow")]
    groups += [("reasoningflow, all", whole)] if whole else []
    table((name, [traces[i] for i in members], [found[i] for i in members]) for name, members in groups)
    saturated = sum(row["stability"] >= 1 for row in found)
    print(f"\n{len(found)} traces, {saturated} of them with a stability of 1 or more")
    return 0


if __name__ == "__main__":
    sys.exit(main())
