"""Samples of an unfinished stage, from a log in every state in which engines and drivers leave it."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from stillery.io.storage import Folder
from stillery.records import Generation
from stillery.sampling.sample_log import SampleLog
from stillery.ui.app import make_app
from stillery.ui.log_files import log_of, whole_files
from stillery.ui.runs import RunList
from support.ui_runs import HOSTILE, make_ui_run


def generation(sample: str, prompt: str = "p01", *, text: str = "2 + 2 = 4", error: str | None = None) -> Generation:
    return Generation(
        sample_id=sample, prompt_id=prompt, sample_index=int(sample[-1]), seed=0, rendered="q", completion=text,
        finish_reason=None if error else "stop", num_prompt_tokens=1, num_tokens=5, mean_logprob=None, model="m",
        sampling="{}", attempt=0, surplus=False, error=error,
    )  # fmt: skip


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return make_ui_run(tmp_path / "early", until="prompts").local


@pytest.fixture
def client(run: Path) -> Iterator[TestClient]:
    with TestClient(make_app(RunList([str(run)])), base_url="http://127.0.0.1") as client:
        yield client


def log(run: Path) -> SampleLog:
    return SampleLog(Folder(str(run / "log" / "key")))


def files_of(run: Path) -> dict[str, bytes]:
    return {str(path.relative_to(run)): path.read_bytes() for path in run.rglob("*") if path.is_file()}


def test_samples_so_far_are_shown_once_each_and_nothing_is_touched(run: Path, client: TestClient) -> None:
    assert "has written no samples yet" in client.get("/runs/early").text
    log(run).append("b1", [generation("aa0"), generation("aa1", error="the engine broke")], number=1)
    log(run).append("b1", [generation("aa1", text="made again"), generation("aa0", text="twice")], number=2)
    log(run).append("b2", [generation("bb0", "p02", text=HOSTILE), generation("cc0", "elsewhere")], number=1)
    before = files_of(run)
    assert "/runs/early/samples?samples=running" in client.get("/runs/early").text
    table = client.get("/runs/early/samples?samples=running").text
    assert "3 of 3 samples" in table
    assert "these are the samples that are written down so far" in table
    assert all(f"/runs/early/samples/{sample}?samples=running" in table for sample in ("aa0", "aa1", "bb0"))
    assert "1 of 3 samples" in client.get("/runs/early/samples?samples=running&q=made+again").text
    page = client.get("/runs/early/samples/aa1?samples=running").text
    assert "made again" in page
    assert "Problem 1: 7 and 9 more? &lt;i&gt;1&lt;/i&gt;" in page
    assert "<script>document" not in client.get("/runs/early/samples/bb0").text
    assert files_of(run) == before
    # The files of what is shown are put together meanwhile.
    log(run).compact("b1")
    assert "made again" in client.get("/runs/early/samples/aa1?samples=running").text


def test_what_is_not_whole_is_passed_over_and_stays(run: Path, client: TestClient) -> None:
    name = log(run).append("b1", [generation("aa0")], number=1)
    whole = (run / "log" / "key" / name).read_bytes()
    torn = run / "log" / "key" / "b1" / "000002-torn.parquet"
    torn.write_bytes(whole[: len(whole) // 2])
    (torn.parent / "000003-empty.parquet").write_bytes(b"")
    (torn.parent / ".hidden.parquet").write_bytes(whole)
    aside = run / "log" / "key" / "quarantine" / "b1"
    aside.mkdir(parents=True)
    (aside / "000004-aside.parquet").write_bytes(whole)
    assert "1 of 1 samples" in client.get("/runs/early/samples").text
    assert client.get("/runs/early").status_code == 200
    assert torn.read_bytes() == whole[: len(whole) // 2]


def test_files_that_another_stands_for_are_not_read_twice(run: Path) -> None:
    names = [log(run).append("b1", [generation(f"aa{n}")], number=n + 1) for n in range(2)]
    kept = {name: (run / "log" / "key" / name).read_bytes() for name in names}
    compaction = log(run).compact("b1")
    assert compaction is not None
    for name, data in kept.items():
        (run / "log" / "key" / name).write_bytes(data)
    found = log_of(RunList([str(run)]).find("early"))
    assert found is not None
    assert [file.relative_to(found).as_posix() for file in whole_files(found)] == [compaction.file]


def test_finished_samples_come_first(tmp_path: Path) -> None:
    run = make_ui_run(tmp_path / "done", until="generate").local
    log(run).append("b1", [generation("aa0")], number=1)
    with TestClient(make_app(RunList([str(run)])), base_url="http://127.0.0.1") as client:
        assert "120 of 120 samples" in client.get("/runs/done/samples").text
        assert "1 of 1 samples" in client.get("/runs/done/samples?samples=running").text
        assert "samples=running" not in client.get("/runs/done").text
