"""Answers that could not be graded are graded once more, alone; too many of them end the stage and leave the rest as it
is."""

from pathlib import Path

import pytest

from stillery.config import VerifyConfig
from stillery.errors import UserError
from stillery.io.storage import Folder
from stillery.records import Generation, Prompt, Verdict
from stillery.stages.verify import verify_generations

# Only computer algebra can compare these two.
SLOW = (r"\int_0^x \sin(t)^2 dt", r"\frac{x}{2} - \frac{\sin(2x)}{4}")


def generation(index: int, answer: str, *, error: str | None = None) -> Generation:
    return Generation(
        sample_id=f"s{index}", prompt_id="slow" if answer == SLOW[0] else "p", sample_index=index, seed=0, rendered="q",
        completion=f"<think>so</think><answer>{answer}</answer>", finish_reason="stop", num_prompt_tokens=1,
        num_tokens=5, mean_logprob=None, model="T", sampling="{}", attempt=0, surplus=False, error=error,
    )  # fmt: skip


def earlier(generation: Generation, kind: str, detail: str | None) -> Verdict:
    return Verdict(generation.sample_id, generation.prompt_id, "so", "1", "1", kind, "ok", [], detail)


def stage(root: Path, generations: list[Generation], verdicts: list[Verdict]) -> dict[str, Folder]:
    """The folders of a stage that has given every sample a verdict, and ended for those that failed."""
    folders = {name: Folder(str(root / name)) for name in ("prompts", "generations", "out")}
    prompts = [
        Prompt("p", "t", "1?", "1", "number", [], "test", "train", 1, None),
        Prompt("slow", "t", "1?", SLOW[1], "expression", [], "test", "train", 1, None),
    ]
    folders["prompts"].write_rows("prompts.parquet", prompts, Prompt)
    folders["generations"].write_rows("generations-00000.parquet", generations, Generation)
    folders["out"].write_rows("verdicts-00000.parquet", verdicts, Verdict)
    return folders


def test_only_what_failed_is_graded_again(tmp_path: Path) -> None:
    rows = [generation(0, "1"), generation(1, "2"), generation(2, "1"), generation(3, "", error="HTTP 503")]
    before = [
        earlier(rows[0], "timeout", "no answer in 5 s"),
        earlier(rows[1], "error", "its process died"),
        # Not what grading would say, so that grading it again would show.
        earlier(rows[2], "wrong", None),
        earlier(rows[3], "error", "generation: HTTP 503"),
    ]
    folders = stage(tmp_path, rows, before)
    summary = verify_generations(VerifyConfig(), **folders, max_failure_share=0.0)
    assert summary["verdicts"] == {"correct": 1, "error": 1, "wrong": 2}
    assert summary["failed"] == 0.0
    after = folders["out"].read_rows("verdicts-00000.parquet", Verdict)
    assert [v.sample_id for v in after] == ["s0", "s1", "s2", "s3"]
    assert after[2:] == before[2:]


@pytest.mark.slow
def test_too_many_failures_end_the_stage_and_lose_nothing(tmp_path: Path) -> None:
    rows = [generation(0, "1"), generation(1, SLOW[0])]
    folders = stage(tmp_path, rows, [earlier(rows[0], "correct", None), earlier(rows[1], "timeout", "slow")])
    hurried = VerifyConfig(deadline_s=1e-6)
    with pytest.raises(
        UserError, match=r"verify: 1 of 2 samples failed \(50.0%\), more than run.max_failure_share=0.1"
    ):
        verify_generations(hurried, **folders, max_failure_share=0.1)
    assert folders["out"].read_rows("verdicts-00000.parquet", Verdict)[0] == earlier(rows[0], "correct", None)
    assert verify_generations(hurried, **folders, max_failure_share=0.5)["failed"] == 0.5
