"""The sample log on S3: engines in separate processes write files that the driver, which listed before, must find; and
`stillery ui` over a run there."""

import multiprocessing
from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from stillery.io.storage import Folder
from stillery.io.transfer import copy_tree
from stillery.records import Generation, RenderedPrompt
from stillery.sampling.inventory import Inventory
from stillery.sampling.sample_log import QUARANTINE, SampleLog
from stillery.sampling.sampler import SampledPrompts
from stillery.sampling.sampling_plan import SamplingPlan
from stillery.ui.app import make_app
from stillery.ui.runs import RunList
from support.s3_server import S3Server, s3_server
from support.ui_runs import make_ui_run
from unit.sampling.test_engine_actors import BATCHES, work

PROMPTS = [prompt for batch in BATCHES for prompt in batch]


@pytest.fixture(scope="module")
def server() -> Iterator[S3Server]:
    with s3_server() as running, pytest.MonkeyPatch.context() as patch:
        for name, value in running.environment.items():
            patch.setenv(name, value)
        yield running


def exit_code(plan: SamplingPlan, answers: int) -> int | None:
    """Of an engine's process, which starts from nothing and so shares no listing with this one."""
    process = multiprocessing.get_context("spawn").Process(target=work, args=(plan, answers))
    process.start()
    process.join()
    return process.exitcode


def test_a_driver_finds_what_engines_wrote_after_it_had_listed(server: S3Server) -> None:
    plan = SamplingPlan("m", {"seed": 0}, 8, SampleLog(Folder(f"{server.uri}/run/log/key")).claim(), 4)
    inventory = Inventory(PROMPTS, plan=plan)
    inventory.look({})
    assert len(inventory.missing(PROMPTS, {}, failed=True)) == 16
    assert plan.log.files() == []
    assert exit_code(plan, answers=10) == 1, "the engine did not break"
    inventory.look({})
    held = 16 - len(inventory.missing(PROMPTS, {}, failed=True))
    assert held == 10, "what a lost engine had made was not found"
    assert exit_code(plan, answers=100) == 0
    inventory.look({})
    assert inventory.missing(PROMPTS, {}, failed=True) == []
    located = [RenderedPrompt(p.prompt_id, p.rendered, sorted(inventory.of(p).files)) for p in PROMPTS]
    (table,) = SampledPrompts(located, {p.prompt_id: 8 for p in PROMPTS}, plan).tables(rows=100)
    assert len(set(table.column("sample_id").to_pylist())) == table.num_rows == 16
    rows = sum(found.num_rows for found in plan.log.read(plan.log.files()).tables.values())
    assert rows == 16, "samples were made twice"


def test_an_empty_object_is_moved_aside(server: S3Server) -> None:
    log = SampleLog(Folder(f"{server.uri}/other/log/key"))
    log.folder.write_bytes("b/000001-x.parquet", b"")
    assert log.read(log.files()).tables == {}
    assert log.files() == []
    assert log.folder.find() == [f"{QUARANTINE}b/000001-x.parquet"]


def test_a_run_is_looked_at_where_it_lies(server: S3Server, tmp_path: Path) -> None:
    local = make_ui_run(tmp_path / "adder").local
    store = Folder(f"{server.uri}/ui/adder")
    copy_tree(local, store)
    made = Folder(str(local / "stages" / "generate" / "generate-1")).read_table("generations-00000.parquet", Generation)
    store.write_table("log/key/b1/000001-x.parquet", made.slice(0, 1))
    before = {name: store.read_bytes(name) for name in store.find()}
    pages = ("samples?verdict=wrong&sort=-stability", "samples/p01s2", "problems/test0?i=1")
    for page in pages:
        asked = f"/runs/adder/{page}"
        with (
            TestClient(make_app(RunList([str(local)])), base_url="http://127.0.0.1") as here,
            TestClient(make_app(RunList([store.uri])), base_url="http://127.0.0.1") as there,
        ):
            assert there.get(asked).text == here.get(asked).text
    with TestClient(make_app(RunList([store.uri])), base_url="http://127.0.0.1") as there:
        assert "1 of 1 samples" in there.get("/runs/adder/samples?samples=running").text
        assert f"<code>{store.uri}</code>" in there.get("/runs/adder").text
    assert {name: store.read_bytes(name) for name in store.find()} == before
