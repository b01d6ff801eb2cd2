"""Another run's problems, and those that were failed there."""

import json
from pathlib import Path

import pytest

from stillery.config import PromptsConfig, load_config
from stillery.errors import UserError
from stillery.io.run_folder import MANIFEST, Run
from stillery.io.storage import Folder
from stillery.problems.runs import failed_problems, run_fingerprints, run_prompts
from stillery.records import Prompt, Verdict
from stillery.stages.prompts import STAGE
from support.refine_runs import make_generation, make_verdict

# Verdicts on the samples of each training problem.
TRIED = {
    "always": ["correct", "correct"],
    "half": ["correct", "wrong"],
    "never": ["wrong", "truncated"],
    "broken": ["timeout", "error"],
    "once": ["wrong", "timeout"],
}


def prompt(name: str, *, split: str = "train") -> Prompt:
    return Prompt(name, "t", f"What is {name}?", "1", "number", [], "t", split, None, None)


def verdicts() -> list[Verdict]:
    return [
        make_verdict(make_generation(prompt(name), index, f"{name} {index}"), verdict)
        for name, found in TRIED.items()
        for index, verdict in enumerate(found)
    ]


@pytest.fixture
def run(tmp_path: Path) -> Folder:
    """A run whose stages prompts and verify are finished; its problems were made once more since, without the first."""
    folder = Folder(str(tmp_path / "run"))
    folder.write_bytes("run.yaml", b"")
    made = Run(folder, git_revision="")
    rows = [*map(prompt, TRIED), prompt("held", split="validation"), prompt("measured", split="test")]
    for fingerprint, problems in (("aa", rows), ("bb", rows[1:])):
        made.stage_folder("prompts", fingerprint).write_rows("prompts.parquet", problems, Prompt)
        made.complete("prompts", fingerprint, version=1, settings={}, inputs={}, summary={})
    later = made.stage_folder("prompts", "bb")
    manifest = json.loads(later.read_bytes(MANIFEST)) | {"finished": "2100-01-01T00:00:00Z"}
    later.write_bytes(MANIFEST, json.dumps(manifest).encode())
    made.stage_folder("verify", "cc").write_rows("verdicts-00000.parquet", verdicts(), Verdict)
    inputs = {"prompts.trained": {"fingerprint": "aa", "content": ""}}
    made.complete("verify", "cc", version=1, settings={}, inputs=inputs, summary={})
    return folder


def test_a_problem_is_failed_by_the_share_of_its_graded_answers() -> None:
    assert failed_problems(verdicts(), below=0.5) == {"never", "once"}
    assert failed_problems(verdicts(), below=1.0) == {"never", "once", "half"}


def test_training_problems_are_those_that_were_failed_and_the_others_stay(run: Folder) -> None:
    found = run_prompts(PromptsConfig(source="run", run=run.uri, failed_below=0.5))
    assert [p.prompt_id for p in found] == ["never", "once", "held", "measured"]
    assert found[2] == prompt("held", split="validation")


def test_the_output_of_verify_that_is_asked_for_says_which_were_failed(run: Folder) -> None:
    made = Run(run, git_revision="")
    later = [make_verdict(make_generation(prompt("always"), n, "no"), "wrong") for n in range(2)]
    made.stage_folder("verify", "dd").write_rows("verdicts-00000.parquet", later, Verdict)
    inputs = {"prompts.trained": {"fingerprint": "aa", "content": ""}}
    made.complete("verify", "dd", version=1, settings={}, inputs=inputs, summary={})
    config = PromptsConfig(source="run", run=run.uri, failed_below=0.5)
    assert [p.prompt_id for p in run_prompts(config)] == ["always", "held", "measured"]
    config.verified = "cc"
    assert [p.prompt_id for p in run_prompts(config)] == ["never", "once", "held", "measured"]
    config.verified = "ee"
    with pytest.raises(UserError, match=r"prompts\.verified=ee: .* there are cc, dd"):
        run_prompts(config)


def test_without_a_share_all_problems_are_taken_as_they_were_made_last(run: Folder) -> None:
    found = run_prompts(PromptsConfig(source="run", run=run.uri))
    assert [p.prompt_id for p in found] == [*list(TRIED)[1:], "held", "measured"]


def test_a_run_counts_by_its_tables_and_not_by_its_place(run: Folder) -> None:
    config = PromptsConfig(source="run", run=run.uri, failed_below=0.5)
    sums = run_fingerprints(config)
    assert set(sums) == {"prompts/prompts.parquet", "verify/verdicts-00000.parquet"}
    run.local.rename(run.local.with_name("moved"))
    config.run = str(run.local.with_name("moved"))
    assert run_fingerprints(config) == sums
    given = load_config(None, ["prompts.source=run", f"prompts.run={config.run}", "prompts.failed_below=0.5"])
    assert "run" not in STAGE.settings(given)
    assert "failed_below" not in STAGE.settings(load_config(None, []))


def test_a_run_that_is_not_there_or_not_far_enough_is_named(run: Folder, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"prompts\.run is not set"):
        run_prompts(PromptsConfig(source="run"))
    with pytest.raises(UserError, match="no run nowhere"):
        run_prompts(PromptsConfig(source="run", run="nowhere"))
    fresh = Folder(str(tmp_path / "fresh"))
    fresh.write_bytes("run.yaml", b"")
    with pytest.raises(UserError, match="its stage prompts has not finished"):
        run_prompts(PromptsConfig(source="run", run=fresh.uri))
    with pytest.raises(UserError, match="its stage verify has not finished"):
        run_prompts(PromptsConfig(source="run", run=fresh.uri, failed_below=0.5))
    solved = [make_verdict(make_generation(prompt("half"), 0, "right"), "correct")]
    (Run(run, git_revision="").stage_folder("verify", "cc")).write_rows("verdicts-00000.parquet", solved, Verdict)
    with pytest.raises(UserError, match="nothing left to learn"):
        run_prompts(PromptsConfig(source="run", run=run.uri, failed_below=0.5))
