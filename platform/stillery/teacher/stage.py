"""Generation: every training and validation problem is put to the teacher n times.

In: prompts. Out: generations, all of them, before anything is verified or filtered. The samples come from the
run's durable log, so a larger n later, or a run that was killed, makes only what is missing.
"""

from typing import Any

from stillery.config import TeacherConfig
from stillery.engines.asking import ask
from stillery.engines.prompting import messages_of
from stillery.records import Generation, Prompt, Split, from_table
from stillery.runs import Run
from stillery.storage import Folder

VERSION = 1
ROWS_PER_FILE = 20_000


def generate(config: TeacherConfig, *, seed: int, prompts: Folder, run: Run, out: Folder) -> dict[str, Any]:
    """Sample the teacher and write generations-*.parquet, a prompt's samples together in order of index."""
    asked = [p for p in from_table(prompts.read_all(Prompt), Prompt) if p.split in (Split.TRAIN, Split.VALIDATION)]
    conversations = [messages_of(p, system_prompt=config.system_prompt, instruction=config.instruction) for p in asked]
    generations = ask(
        asked,
        conversations,
        model=config.model,
        engine=config,
        sampling={**config.sampling, "seed": seed},
        num_samples=config.samples_per_prompt,
        template_kwargs=config.chat_template_kwargs,
        run=run,
        label="generate",
    )
    for number, start in enumerate(range(0, len(generations), ROWS_PER_FILE)):
        out.write_rows(f"generations-{number:05d}.parquet", generations[start : start + ROWS_PER_FILE], Generation)
    return summary_of(generations, num_prompts=len(asked))


def summary_of(generations: list[Generation], *, num_prompts: int) -> dict[str, Any]:
    """Counts of what was generated; tokens are the completions' only."""
    reasons: dict[str, int] = {}
    for row in generations:
        reason = "error" if row.error is not None else row.finish_reason or "unknown"
        reasons[reason] = reasons.get(reason, 0) + 1
    return {
        "num_prompts": num_prompts,
        "num_samples": len(generations),
        "num_tokens": sum(g.num_tokens for g in generations),
        "finish_reasons": reasons,
    }
