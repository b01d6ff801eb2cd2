"""The inputs of a refinement: problems with an answer, and the teacher's samples with their verdicts."""

from pathlib import Path
from typing import Any

from stillery.config import load_config
from stillery.io.storage import Folder
from stillery.records import Generation, Prompt, Verdict, digest
from stillery.stages.prompts import draw_prompts


def small_prompts(*, num_train: int = 16, num_validation: int = 8) -> list[Prompt]:
    """Problems of the embedded tasks."""
    counts = {"num_train": num_train, "num_validation": num_validation, "num_test": 1, "num_longer": 1}
    config = load_config(None, [f"prompts.{name}={count}" for name, count in counts.items()])
    return draw_prompts(config.prompts, seed=0)


def templated(answer: str) -> str:
    return f"<think>\nIt is {answer}.\n</think>\n<answer>{answer}</answer>"


def make_generation(prompt: Prompt, index: int, completion: str, **changes: Any) -> Generation:
    values: dict[str, Any] = {
        "sample_id": digest(prompt.prompt_id, index), "prompt_id": prompt.prompt_id, "sample_index": index, "seed": 0,
        "rendered": prompt.question, "completion": completion, "finish_reason": "stop", "num_prompt_tokens": 1,
        "num_tokens": 1, "mean_logprob": None, "model": "teacher", "sampling": "{}", "attempt": 0, "surplus": False,
        "error": None,
    }  # fmt: skip
    return Generation(**{**values, **changes})


def make_verdict(generation: Generation, verdict: str, *, template: str = "ok") -> Verdict:
    ids = (generation.sample_id, generation.prompt_id)
    return Verdict(*ids, "hm", "1", "1", verdict, template, [], None)


def write_tables(folder: Path) -> dict[str, Folder]:
    """Prompts, generations and verdicts: one right and one wrong sample of each training problem."""
    prompts = small_prompts()
    tables = {name: Folder(str(folder / name)) for name in ("prompts", "generations", "verdicts")}
    rows: list[tuple[Generation, Verdict]] = []
    for prompt in prompts:
        right = make_generation(prompt, 0, templated(prompt.answer or ""))
        wrong = make_generation(prompt, 1, templated("nothing"))
        rows += [(right, make_verdict(right, "correct")), (wrong, make_verdict(wrong, "wrong"))]
    tables["prompts"].write_rows("prompts.parquet", prompts, Prompt)
    tables["generations"].write_rows("generations-00000.parquet", [g for g, _ in rows], Generation)
    tables["verdicts"].write_rows("verdicts-00000.parquet", [v for _, v in rows], Verdict)
    return tables
