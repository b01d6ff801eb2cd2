"""Evaluation: a model answers the evaluation problems several times and is graded.

In: prompts and a model. Out: scores, one row a sample, and the metrics made of them. The teacher, the untouched
student and the distilled one are measured in the same way, on the same problems, by the same verifier.
"""

from collections.abc import Mapping
from typing import Any

from stillery.config import EngineConfig, EvaluateConfig, VerifyConfig
from stillery.engines.asking import ask
from stillery.engines.prompting import messages_of
from stillery.engines.sources import Source
from stillery.errors import UserError
from stillery.metrics import summarize
from stillery.records import Generation, Prompt, Score, Verdict, from_table
from stillery.runs import Run
from stillery.storage import Folder
from stillery.verify.stage import grade_rows

VERSION = 1
ROWS_AT_ONCE = 20_000


def evaluate(
    config: EvaluateConfig,
    *,
    role: str,
    source: Source,
    engine: EngineConfig,
    asking: Mapping[str, str | None],
    verify: VerifyConfig,
    seed: int,
    prompts: Folder,
    run: Run,
    out: Folder,
) -> dict[str, Any]:
    """Write scores.parquet and return the metrics.

    `role` names the model in tables (teacher, student_before, student_after), `source` is the model, `engine` says what
    it takes to run it; `asking` holds the `system_prompt` and `instruction` that shape its prompt. Raises UserError if
    the prompts hold no problem of `config.splits`.
    """
    chosen = [p for p in from_table(prompts.read_all(Prompt), Prompt) if p.split in config.splits]
    if not chosen:
        raise UserError(f"evaluate: no problem in the splits {', '.join(config.splits)}; set evaluate.splits")
    conversations = [
        messages_of(p, system_prompt=asking["system_prompt"], instruction=asking["instruction"]) for p in chosen
    ]
    asked = ask(
        chosen,
        conversations,
        source=source,
        engine=engine,
        sampling={**config.sampling, "seed": seed},
        num_samples=config.samples_per_prompt,
        run=run,
        label=f"evaluate {role}",
    )
    generations = [row for rows in asked.read(rows=ROWS_AT_ONCE) for row in rows]
    by_id = {p.prompt_id: p for p in chosen}
    verdicts = grade_rows(verify, generations, by_id)
    scores = [score(role, by_id[g.prompt_id], g, v) for g, v in zip(generations, verdicts, strict=True)]
    out.write_rows("scores.parquet", scores, Score)
    return summarize(scores, ks=config.ks)


def score(role: str, prompt: Prompt, generation: Generation, verdict: Verdict) -> Score:
    """One evaluated sample with everything that tables and drawings of it need."""
    return Score(
        model=role,
        prompt_id=prompt.prompt_id,
        sample_id=generation.sample_id,
        sample_index=generation.sample_index,
        task=prompt.task,
        split=prompt.split,
        num_steps=prompt.num_steps,
        question=prompt.question,
        gold=prompt.answer,
        completion=generation.completion,
        predicted=verdict.predicted,
        verdict=verdict.verdict,
        template=verdict.template,
        num_tokens=generation.num_tokens,
        finish_reason=generation.finish_reason,
    )
