"""The status of a run in `stillery ui`, from run folders in every state."""

import json
import time
from pathlib import Path

import pytest

from stillery.config import load_config
from stillery.io.run_folder import open_run
from stillery.io.storage import Folder
from stillery.records import Generation
from stillery.ui.database import Database
from stillery.ui.live import RunState, holds_lock, state_of
from stillery.ui.runs import RunList
from support.ui_runs import NUM_PROBLEMS, SAMPLES, make_ui_run

has_locks = pytest.mark.skipif(not Path("/proc/locks").exists(), reason="the kernel lists no locks here")


def _state(folder: Path) -> RunState:
    return state_of(RunList([str(folder)]).find(folder.name), Database([folder]))


def _log(folder: Path, number: int, *, twice: bool = False) -> None:
    """Samples of a problem in the run's log, one file, or the same file twice as an engine that died leaves it."""
    rows = [
        Generation(
            sample_id=f"l{number}s{i}", prompt_id=f"p{number:02d}", sample_index=i, seed=0, rendered="q",
            completion="c", finish_reason="stop", num_prompt_tokens=1_000_000, num_tokens=500_000, mean_logprob=None,
            model="m", sampling="{}", attempt=0, surplus=False, error="broke" if i == 3 else None,
        )
        for i in range(4)
    ]  # fmt: skip
    for copy in range(1 + twice):
        Folder(str(folder / "log" / "key" / "batch")).write_rows(f"{number:06d}-{copy}.parquet", rows, Generation)


@pytest.mark.slow
def test_a_run_that_nobody_works_on_is_stopped_or_finished(tmp_path: Path) -> None:
    make_ui_run(tmp_path / "done")
    whole = _state(tmp_path / "done")
    assert whole.is_running is False
    assert whole.current is None
    assert {s.name: s.state for s in whole.stages}["evaluate_after"] == "finished"
    folder = make_ui_run(tmp_path / "killed", until="curate").local
    (folder / "stages" / "sft" / "f1").mkdir(parents=True)
    killed = _state(folder)
    assert killed.current is not None
    assert (killed.current.name, killed.current.state) == ("sft", "stopped")
    assert [s.state for s in killed.stages][-1] == "waiting"


@has_locks
def test_sampling_is_counted_from_the_log(tmp_path: Path) -> None:
    folder = make_ui_run(tmp_path / "live", until="prompts").local
    with open_run(load_config(folder / "run.yaml", [f"run.dir={folder}"])):
        assert holds_lock(folder / ".lock") is True
        before = _state(folder).current
        assert before is not None
        assert before.progress is not None
        assert (before.progress.done, before.progress.per_s) == (0, None)
        _log(folder, 1)
        _log(folder, 2, twice=True)
        time.sleep(1.1)
        state = _state(folder)
    assert state.is_running
    assert state.current is not None
    assert (state.current.name, state.current.state) == ("generate", "running")
    progress = state.current.progress
    assert progress is not None
    # What failed is made again, and what was logged twice is one sample.
    assert (progress.done, progress.most) == (6, NUM_PROBLEMS * len(SAMPLES))
    assert progress.per_s is not None
    assert progress.left_s == pytest.approx((progress.most - 6) / progress.per_s)
    assert progress.cost is None
    assert holds_lock(folder / ".lock") is False


@has_locks
def test_an_endpoints_samples_have_their_cost(tmp_path: Path) -> None:
    folder = make_ui_run(tmp_path / "paid", until="prompts").local
    priced = [
        "teacher.kind=endpoint",
        "teacher.model=large",
        "teacher.endpoint.base_url=http://localhost:1/v1",
        "teacher.endpoint.input_price=2",
    ]
    priced += ["teacher.endpoint.output_price=4", f"run.dir={folder}"]
    with open_run(load_config(folder / "run.yaml", priced)):
        _log(folder, 1)
        current = _state(folder).current
    assert current is not None
    assert current.progress is not None
    assert current.progress.cost == pytest.approx(3 * (2 + 0.5 * 4))


@has_locks
def test_training_is_told_from_its_checkpoints(tmp_path: Path) -> None:
    folder = make_ui_run(tmp_path / "trains", until="curate").local
    with open_run(load_config(folder / "run.yaml", [f"run.dir={folder}"])):
        out = Folder(str(folder / "stages" / "sft" / "f1" / "ray_train" / "checkpoint_1"))
        out.write_bytes("trainer_state.json", json.dumps({"global_step": 40, "max_steps": 100}).encode())
        current = _state(folder).current
    assert current is not None
    assert current.name == "sft"
    assert current.progress is not None
    assert (current.progress.done, current.progress.most, current.progress.share) == (40, 100, 0.4)


@has_locks
def test_a_stage_that_is_made_again_runs_though_it_was_finished_before(tmp_path: Path) -> None:
    folder = make_ui_run(tmp_path / "again").local
    for manifest in folder.glob("stages/*/*/manifest.json"):
        manifest.write_text(manifest.read_text().replace('"finished": "2', '"finished": "1'))
    with open_run(load_config(folder / "run.yaml", [f"run.dir={folder}"])):
        (folder / "stages" / "verify" / "f2").mkdir()
        current = _state(folder).current
    assert current is not None
    assert (current.name, current.state) == ("verify", "running")


def test_the_samples_that_are_shown_are_those_of_one_chain(tmp_path: Path) -> None:
    folder = make_ui_run(tmp_path / "adder").local
    run = RunList([str(folder)]).find("adder")
    for stage in ("generate", "verify"):
        old, new = folder / "stages" / stage / f"{stage}-1", folder / "stages" / stage / f"{stage}-2"
        new.mkdir()
        for file in old.iterdir():
            (new / file.name).write_bytes(file.read_bytes())
        told = json.loads((old / "manifest.json").read_text()) | {"finished": "2999-01-01T00:00:00Z"}
        if stage == "generate":
            told["files"] = {"generations-00000.parquet": "sha256:other"}
        else:
            told["inputs"]["generate"] = {"fingerprint": "generate-2", "content": "other"}
        (new / "manifest.json").write_text(json.dumps(told))
    latest = {stage: output.fingerprint for stage, output in run.chosen().items()}
    assert (latest["generate"], latest["verify"]) == ("generate-2", "verify-2")
    # Nothing has been curated of the new samples, and what was trained on the old ones is not theirs.
    assert not {"curate", "sft", "evaluate_after", "register"} & latest.keys()
    before = {stage: output.fingerprint for stage, output in run.chosen("generate-1").items()}
    assert before["verify"] == "verify-1"
    assert {"curate", "sft", "evaluate_after", "register", "report"} <= before.keys()
    with pytest.raises(KeyError):
        run.chosen("generate-3")


def test_a_config_of_another_version_hides_nothing_else(tmp_path: Path) -> None:
    folder = make_ui_run(tmp_path / "old", until="generate").local
    (folder / "run.yaml").write_text("run:\n  colour: blue\n")
    state = _state(folder)
    assert state.num_finished == 2
    assert RunList([str(folder)]).find("old").config() is None
