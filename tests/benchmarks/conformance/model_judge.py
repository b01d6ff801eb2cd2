#!/usr/bin/env python3
"""A model as judge of answers known to be right or wrong: its verdicts, and the replies without one.

    python tests/benchmarks/conformance/model_judge.py [MODEL] [key=value …]

MODEL (default embedded:teacher) runs on this machine under vLLM, called through `verify.judge` as in a run, with its
log; settings are config keys, such as verify.judge.sampling.max_tokens=256. Prints one table: for the right and the
wrong answers, how many were judged correct, how many wrong, and how many replies had no verdict, with an example of
each. A reply without a verdict may never count as wrong: the script exits with 1 if one does.
"""

import sys
import tempfile
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).parents[3]
sys.path[:0] = [str(ROOT / "platform"), str(ROOT / "tests")]

from stillery.cluster import connect as cluster  # noqa: E402
from stillery.config import load_config  # noqa: E402
from stillery.io.run_folder import open_run  # noqa: E402
from stillery.io.storage import Folder  # noqa: E402
from stillery.model_judge.checks import check_judge  # noqa: E402
from stillery.model_judge.judging import judge_open  # noqa: E402
from stillery.model_judge.wording import read_reply  # noqa: E402
from stillery.records import Generation, Prompt, Verdict, from_table  # noqa: E402
from stillery.sampling.sample_log import SampleLog  # noqa: E402
from stillery.verify import grade  # noqa: E402

# Question, reference, an answer that says the same, one that does not.
FACTS = (
    ("What is the capital of France?", "Paris", "It is Paris.", "It is Lyon."),
    ("Why is the sky blue?", "Rayleigh scattering", "Air scatters short waves the most.", "It mirrors the sea."),
    ("What do bees make?", "honey", "They make honey.", "They make silk."),
    ("Which planet is nearest to the sun?", "Mercury", "Mercury is.", "Venus is."),
    ("What is 7 times 8?", "56", "It makes 56.", "It makes 54."),
    ("What does ice become when it melts?", "water", "Liquid water.", "Steam."),
)


def main(model: str, settings: list[str]) -> int:
    with tempfile.TemporaryDirectory() as folder:
        judge = ["verify.judge.kind=vllm", f"verify.judge.model={model}", "verify.judge.sampling.max_tokens=200"]
        config = load_config(None, [f"run.dir={folder}/run", *judge, *settings])
        check_judge(config)
        prompts, made, truth = _rows()
        open_verdicts = [
            grade(row.completion, answer=prompts[row.prompt_id].answer, answer_kind="judged", sample_id=row.sample_id)
            for row in made
        ]
        cluster.connect(config.cluster, dashboard=False)
        with open_run(config) as run:
            verdicts = judge_open(config.verify, made, open_verdicts, prompts, run=run, seed=0, label="judge")
            replies = _logged(run.logs)
    return _report(model, verdicts, truth, replies)


def _rows() -> tuple[dict[str, Prompt], list[Generation], dict[str, str]]:
    prompts: dict[str, Prompt] = {}
    made: list[Generation] = []
    truth: dict[str, str] = {}
    for number, (question, reference, *answers) in enumerate(FACTS):
        prompt = Prompt(f"p{number}", "facts", question, reference, "judged", [], "x", "train", None, None)
        prompts[prompt.prompt_id] = prompt
        for kind, answer in zip(("right", "wrong"), answers, strict=True):
            sample = f"p{number}-{kind}"
            text = f"<think>\nHm.\n</think>\n<answer>{answer}</answer>"
            made.append(
                Generation(sample, prompt.prompt_id, 0, 0, "", text, "stop", 1, 1, None, "t", "{}", 0, False, None)
            )
            truth[sample] = kind
    return prompts, made, truth


def _logged(logs: Folder) -> list[Generation]:
    """The judge's replies, as the run's log has them."""
    found: list[Generation] = []
    for key in logs.names():
        log = SampleLog(logs / key)
        found += [row for table in log.read(log.files()).tables.values() for row in from_table(table, Generation)]
    return found


def _report(model: str, verdicts: list[Verdict], truth: dict[str, str], replies: list[Generation]) -> int:
    counts = Counter((truth[v.sample_id], str(v.verdict)) for v in verdicts)
    print(f"{model}\n\n| answer | judged correct | judged wrong | no verdict |\n|---|---:|---:|---:|")
    for kind in ("right", "wrong"):
        print(f"| {kind} | {counts[kind, 'correct']} | {counts[kind, 'wrong']} | {counts[kind, 'error']} |")
    shown: set[str] = set()
    for verdict in verdicts:
        if str(verdict.verdict) not in shown:
            shown.add(str(verdict.verdict))
            print(f"\n{verdict.sample_id} {verdict.verdict}: {verdict.detail}")
    said_nothing = sum(str(read_reply(reply)[0]) == "error" for reply in replies)
    errors = sum(str(verdict.verdict) == "error" for verdict in verdicts)
    print(f"\n{len(replies)} replies in the log, {said_nothing} without a verdict; {errors} verdicts are error")
    return 0 if len(replies) == len(verdicts) and said_nothing == errors else 1


if __name__ == "__main__":
    given = sys.argv[1:]
    model = given.pop(0) if given and "=" not in given[0] else "embedded:teacher"
    sys.exit(main(model, given))
