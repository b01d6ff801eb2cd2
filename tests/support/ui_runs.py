"""A run folder with rows of every kind and known figures, made by the stages' own code without an engine."""

import json
from pathlib import Path
from typing import Any

from stillery.config import Config, CurateConfig, to_yaml
from stillery.io.run_folder import Output, Run
from stillery.io.storage import Folder
from stillery.metrics import summarize
from stillery.records import Generation, Prompt, Score, Verdict, to_table
from stillery.report import render
from stillery.stages.bonds import MoleculeCounts, analyze_batch
from stillery.stages.curate import curate
from stillery.stages.prompts import summarize_prompts
from support.report_runs import make_report
from support.score_rows import make_scores

# What a model might write to whoever reads it in a browser.
HOSTILE = (
    "<think>\n<script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">\n"
    '7 + 9 = 18\n</pre></li><style>body{display:none}</style>{{ 7*7 }}\n</think>\n<answer>"><b>4</b></answer>'
)
RIGHT = "<think>\nstart 7\nthen picks 9: 7 + 9 = 16\ncheck: 16 - 9 = 7, ok\n</think>\n<answer>16</answer>"
MENDED = "<think>\nstart 7\nthen picks 9: 7 + 9 = 18\nwait, 7 + 9 = 16\n</think>\n<answer>16</answer>"
FALSE = "<think>\nstart 7\nthen picks 9: 7 + 9 = 18\nso 18 + 1 = 19\n</think>\n<answer>19</answer>"
# The four samples of each problem: completion, predicted answer, verdict, flags.
SAMPLES = (
    (RIGHT, "16", "correct", []),
    (MENDED, "16", "correct", ["repetition"]),
    (FALSE, "19", "wrong", []),
    (HOSTILE, '"><b>4</b>', "wrong", []),
)
NUM_PROBLEMS = 30
# Outcomes on the test problems, before training and after: two gained, one lost, one the same.
BEFORE, AFTER = ("+-", "--", "++", "--"), ("++", "+-", "+-", "--")


def make_ui_run(root: Path, *, until: str = "report", after: tuple[str, ...] = AFTER) -> Folder:
    """Write the finished stages of a run up to and including one of prompts, generate, verify, bonds, curate,
    evaluate_after or report."""
    settings = Config()
    settings.run.name, settings.bonds.enabled, settings.teacher.samples_per_prompt = root.name, True, len(SAMPLES)
    run = Run(Folder(str(root)), "0" * 40)
    run.folder.write_bytes("run.yaml", to_yaml(settings).encode())
    done: dict[str, Output] = {}
    for stage, (needs, make) in _STAGES.items():
        out = run.stage_folder(stage, f"{stage}-1")
        summary = make(out, {name: output.folder for name, output in done.items()}, after)
        inputs = {need: {"fingerprint": done[need].fingerprint, "content": done[need].content} for need in needs}
        kept = {"stopping": None} if stage == "curate" else {}
        done[stage] = run.complete(
            stage, f"{stage}-1", version=1, settings=kept, inputs=inputs, summary={"seconds": 2.0, **summary}
        )
        if stage == until:
            break
    return run.folder


def _prompts(out: Folder, _: dict[str, Folder], __: tuple[str, ...]) -> dict[str, Any]:
    rows = [
        Prompt(f"p{n:02d}", ("coins", "equations", "dates")[n % 3], f"Problem {n}: 7 and 9 more? <i>{n}</i>", "16",
               "number", [], "file", "train" if n else "validation", 2, None)
        for n in range(NUM_PROBLEMS)
    ]  # fmt: skip
    out.write_rows("prompts.parquet", rows, Prompt)
    return summarize_prompts(rows)


def _generate(out: Folder, made: dict[str, Folder], _: tuple[str, ...]) -> dict[str, Any]:
    rows = [
        Generation(
            sample_id=f"{prompt.prompt_id}s{index}", prompt_id=prompt.prompt_id, sample_index=index, seed=index,
            rendered=f"user: {prompt.question}", completion=completion, finish_reason="stop", num_prompt_tokens=9,
            num_tokens=20 + 10 * index, mean_logprob=None, model="teacher", sampling="{}", attempt=0, surplus=False,
            error=None,
        )
        for prompt in made["prompts"].read_rows("prompts.parquet", Prompt)
        for index, (completion, *_) in enumerate(SAMPLES)
    ]  # fmt: skip
    # In two files, as a large run has many.
    half = len(rows) // 2
    out.write_rows("generations-00000.parquet", rows[:half], Generation)
    out.write_rows("generations-00001.parquet", rows[half:], Generation)
    return {"num_samples": len(rows), "num_tokens": sum(row.num_tokens for row in rows)}


def _verify(out: Folder, made: dict[str, Folder], _: tuple[str, ...]) -> dict[str, Any]:
    rows = [
        Verdict(f"p{n:02d}s{i}", f"p{n:02d}", "t", answer, answer, verdict, "ok", flags, None,
                [f"{flag}: 'ok' thrice" for flag in flags])
        for n in range(NUM_PROBLEMS)
        for i, (_, answer, verdict, flags) in enumerate(SAMPLES)
    ]  # fmt: skip
    out.write_rows("verdicts-00000.parquet", rows, Verdict)
    verdicts = {kind: sum(row.verdict == kind for row in rows) for kind in ("correct", "wrong")}
    return {"verdicts": verdicts, "flags": {"repetition": NUM_PROBLEMS}}


def _bonds(out: Folder, made: dict[str, Folder], _: tuple[str, ...]) -> dict[str, Any]:
    questions = {p.prompt_id: p.question for p in made["prompts"].read_rows("prompts.parquet", Prompt)}
    for name in made["generate"].names(".parquet"):
        table = made["generate"].read_table(name, Generation).select(["sample_id", "prompt_id", "completion"])
        out.write_table(name.replace("generations", "molecules"), analyze_batch(table, questions=questions))
    return MoleculeCounts(0.5).summary()


def _curate(out: Folder, made: dict[str, Folder], _: tuple[str, ...]) -> dict[str, Any]:
    tables = {"prompts": made["prompts"], "generations": made["generate"], "verdicts": made["verify"]}
    return curate(CurateConfig(max_per_prompt=1), **tables, stopping=None, out=out)


def _evaluate(role: str) -> Any:
    def make(out: Folder, _: dict[str, Folder], after: tuple[str, ...]) -> dict[str, Any]:
        outcomes = {"student_before": BEFORE, "student_after": after, "teacher": ("++", "++", "++", "+-")}[role]
        scores: list[Score] = []
        for number, signs in enumerate(outcomes):
            task = ("coins", "equations")[number % 2]
            scores += make_scores(f"test{number}", signs, model=role, task=task, num_steps=2)
        hostile = {"completion": HOSTILE, "question": HOSTILE, "predicted": HOSTILE}
        scores += make_scores("hostile", "--", model=role, split="longer", **hostile)
        out.write_table("scores.parquet", to_table(scores, Score))
        return dict(summarize(scores, ks=[1, 2]))

    return make


def _sft(out: Folder, _: dict[str, Folder], __: tuple[str, ...]) -> dict[str, Any]:
    out.write_bytes("history.json", b"[]")
    return {"model": "m"}


def _register(out: Folder, _: dict[str, Folder], __: tuple[str, ...]) -> dict[str, Any]:
    summary = {"name": "adder", "version": "3", "aliases": ["champion"], "decision": "promoted", "gain": None}
    out.write_bytes("registration.json", json.dumps(summary).encode())
    return summary


def _report(out: Folder, _: dict[str, Folder], __: tuple[str, ...]) -> dict[str, Any]:
    out.write_bytes("report.html", render(make_report()).encode())
    return {"path": f"{out.uri}/report.html"}


_STAGES: dict[str, tuple[tuple[str, ...], Any]] = {
    "prompts": ((), _prompts),
    "generate": (("prompts",), _generate),
    "verify": (("prompts", "generate"), _verify),
    "bonds": (("prompts", "generate", "verify"), _bonds),
    "curate": (("prompts", "generate", "verify"), _curate),
    "sft": (("curate",), _sft),
    "evaluate_teacher": (("prompts",), _evaluate("teacher")),
    "evaluate_before": (("prompts",), _evaluate("student_before")),
    "evaluate_after": (("prompts", "sft"), _evaluate("student_after")),
    "register": (("prompts", "generate", "sft"), _register),
    "report": (("prompts", "generate", "evaluate_after"), _report),
}
