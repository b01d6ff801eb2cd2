"""User errors: one or two lines that name the error and the remedy, exit code 2, in about a second, without Ray."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
MODEL = ROOT / "platform" / "stillery" / "tiny_models" / "models" / "student"


def distill(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "jobs/distill.py", *arguments],
        cwd=ROOT, capture_output=True, text=True, timeout=60, env={**os.environ, **environment},
    )  # fmt: skip


def test_bad_input_is_named_with_its_remedy(tmp_path: Path) -> None:
    (tmp_path / "empty.jsonl").write_text("")
    (tmp_path / "other.jsonl").write_text(json.dumps({"q": "1+1?", "a": "2"}) + "\n")
    twice = json.dumps({"question": "1+1?", "answer": "2"}) + "\n"
    (tmp_path / "twice.jsonl").write_text(twice * 2)
    (tmp_path / "empty").mkdir()
    for name, removed in (("no_weights", "*.safetensors"), ("no_tokenizer", "tokenizer*")):
        shutil.copytree(MODEL, tmp_path / name, ignore=shutil.ignore_patterns(removed))
    run = f"run.dir={tmp_path / 'run'}"
    files = ["prompts.source=file", f"prompts.test={tmp_path}/twice.jsonl", run]
    cases: list[tuple[list[str], str]] = [
        (["teacher.sample_per_prompt=2"], "did you mean samples_per_prompt"),
        (["sft.trl.learning_rte=1"], "did you mean learning_rate"),
        (["teacher.sampling.temprature=1"], "did you mean temperature"),
        (["--config", "gone.yaml"], "gone.yaml does not exist"),
        ([f"teacher.model={tmp_path}/empty", run], "no config.json"),
        ([f"teacher.model={tmp_path}/no_weights", run], "has no *.safetensors"),
        ([f"sft.student={tmp_path}/no_tokenizer", run], "has no tokenizer.json"),
        ([f"sft.student={tmp_path}/nowhere", run], "no such folder"),
        ([*files, f"prompts.train={tmp_path}/gone.jsonl"], "gone.jsonl"),
        ([*files, f"prompts.train={tmp_path}/empty.jsonl"], "empty"),
        ([*files, f"prompts.train={tmp_path}/other.jsonl"], "question"),
        ([*files, f"prompts.train={tmp_path}/twice.jsonl"], "twice.jsonl"),
    ]
    for arguments, message in cases:
        done = distill(*arguments)
        assert done.returncode == 2, f"{arguments}: {done.stdout}{done.stderr}"
        assert message in done.stderr, f"{arguments}: {done.stderr}"
        assert "Traceback" not in done.stderr
        assert len(done.stderr.strip().splitlines()) <= 2
    assert not list(tmp_path.glob("run/stages/*/*/manifest.json"))


def test_a_cluster_that_does_not_answer_is_named(tmp_path: Path) -> None:
    done = distill(f"run.dir={tmp_path}", "cluster.address=127.0.0.1:1")
    assert done.returncode == 2
    assert "127.0.0.1:1 is not reachable" in done.stderr
    assert "stillery head" in done.stderr


def test_a_run_folder_that_cannot_be_made_is_named() -> None:
    done = distill("run.dir=/dev/null/run")
    assert done.returncode == 2
    assert "/dev/null/run" in done.stderr
