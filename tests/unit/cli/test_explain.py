"""`stillery explain`: the path of a sample through the tables of a run."""

import json
from pathlib import Path

import pytest

from stillery.cli.explain import explain
from stillery.config import CurateConfig, DecontaminateConfig
from stillery.errors import UserError
from stillery.io.run_folder import home
from stillery.io.storage import Folder
from stillery.records import Generation, Prompt, Verdict
from stillery.stages.curate import curate


def make_run(root: Path) -> Folder:
    """A run whose teacher answered three problems: one kept, one wrong, one of an evaluation set."""
    run = Folder(str(root))
    run.write_bytes("run.yaml", b"")
    (root / "test.jsonl").write_text(json.dumps({"question": "Held out: how many eggs are in two dozen?"}) + "\n")
    stages = {
        name: run / "stages" / name / f"{name}1"
        for name in ("prompts", "generate", "verify", "curate", "sft", "register")
    }
    questions = {"a": "1+1?", "b": "1+2?", "c": "Held out: how many eggs are in two dozen?"}
    prompts = [Prompt(name, "t", text, "2", "number", [], "file", "train", 1, None) for name, text in questions.items()]
    rows = [
        Generation(
            sample_id=f"{p.prompt_id}0", prompt_id=p.prompt_id, sample_index=0, seed=0, rendered="q", completion="2",
            finish_reason="stop", num_prompt_tokens=1, num_tokens=5, mean_logprob=None, model="T", sampling="{}",
            attempt=0, surplus=False, error=None,
        )
        for p in prompts
    ]  # fmt: skip
    verdicts = [
        Verdict(g.sample_id, g.prompt_id, "t", "2", "2", kind, "ok", [], None)
        for g, kind in zip(rows, ("correct", "wrong", "correct"), strict=True)
    ]
    stages["prompts"].write_rows("prompts.parquet", prompts, Prompt)
    stages["generate"].write_rows("generations-00000.parquet", rows, Generation)
    stages["verify"].write_rows("verdicts-00000.parquet", verdicts, Verdict)
    config = CurateConfig(decontaminate=DecontaminateConfig(files=[str(root / "test.jsonl")]))
    tables = {"prompts": stages["prompts"], "generations": stages["generate"], "verdicts": stages["verify"]}
    curate(config, **tables, stopping=None, out=stages["curate"])
    manifests = {
        "sft": {"inputs": {"curate": {"fingerprint": "curate1"}}},
        "register": {
            "inputs": {"sft": {"fingerprint": "sft1"}},
            "summary": {"name": "eggs", "version": "3", "aliases": ["champion"]},
        },
    }
    for name, folder in stages.items():
        told = {"fingerprint": f"{name}1", "finished": "2026-11-27T12:00:00", **manifests.get(name, {})}
        folder.write_bytes("manifest.json", json.dumps(told).encode())
    return run


def test_the_way_of_a_kept_sample_ends_at_the_model_that_learnt_it() -> None:
    make_run(home() / "runs" / "eggs")
    told = explain("a0", run=None)
    assert "sample 0 of prompt a from T, 5 tokens, stop" in told
    assert "correct: answered 2" in told
    assert "train set  train, part reasoning" in told
    assert "models:/eggs/3 (champion)" in told


def test_what_was_left_out_is_told_with_its_evidence(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    assert "left out   wrong (curate/curate1)" in explain("b0", run=run.uri)
    told = explain("c", run=run.uri)
    assert f"left out   contaminated: {tmp_path}/test.jsonl" in told
    assert "evaluation_text: Held out: how many eggs" in told
    assert "registered" not in told


def test_a_sample_that_no_run_holds_is_an_error(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    with pytest.raises(UserError, match="no sample zz in"):
        explain("zz", run=run.uri)
    with pytest.raises(UserError, match="no run nowhere"):
        explain("a0", run="nowhere")
