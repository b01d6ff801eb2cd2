"""The full pipeline on the embedded models, with real Ray, vLLM, TRL and MLflow."""

import contextlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from stillery.cli.main import main
from stillery.config import load_config
from stillery.errors import UserError
from stillery.io.run_folder import Output
from stillery.io.storage import Folder
from stillery.pipeline.order import STAGES
from stillery.pipeline.runner import run_pipeline
from stillery.records import Choice, Generation, Prompt, Sample, Score, Verdict, from_table
from stillery.sampling.sample_log import SampleLog
from support.shared_data import shared_data
from support.small_run import DEMO, small_config

pytestmark = pytest.mark.usefixtures("ray_cluster")


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("run")


@pytest.fixture(scope="module")
def registry_uri(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"sqlite:///{tmp_path_factory.mktemp('mlflow')}/mlflow.db"


@pytest.fixture(scope="module")
def outputs(run_folder: Path, registry_uri: str, ray_cluster: None) -> dict[str, Output]:
    return run_pipeline(small_config(run_folder, f"register.tracking_uri={registry_uri}"))


def test_every_stage_leaves_a_complete_output(outputs: dict[str, Output]) -> None:
    asked_for = ("attention", "refine", "evaluate_sft")
    assert list(outputs) == [stage.name for stage in STAGES if stage.name not in asked_for]
    for output in outputs.values():
        manifest = json.loads(output.folder.read_bytes("manifest.json"))
        assert manifest["fingerprint"] == output.fingerprint
        assert manifest["git_revision"]


def test_every_sample_asked_for_is_there_once_with_what_the_engine_knows(outputs: dict[str, Output]) -> None:
    prompts = from_table(outputs["prompts"].folder.read_all(Prompt), Prompt)
    rows = from_table(outputs["generate"].folder.read_all(Generation), Generation)
    assert (
        len(rows)
        == len({row.sample_id for row in rows})
        == 4 * sum(p.split in ("train", "validation") for p in prompts)
    )
    finished = [row for row in rows if row.finish_reason == "stop"]
    assert finished
    assert all(row.num_tokens > 0 and row.mean_logprob is None for row in finished)


def test_every_generation_has_a_verdict_and_only_correct_ones_are_trained_on(outputs: dict[str, Output]) -> None:
    generations = from_table(outputs["generate"].folder.read_all(Generation), Generation)
    verdicts = from_table(outputs["verify"].folder.read_all(Verdict), Verdict)
    assert [v.sample_id for v in verdicts] == [g.sample_id for g in generations]
    correct = {v.sample_id for v in verdicts if v.verdict == "correct"}
    samples = from_table(outputs["curate"].folder.read_all(Sample), Sample)
    assert samples
    assert {s.sample_id for s in samples} <= correct


def test_no_problem_is_both_trained_on_and_measured(outputs: dict[str, Output]) -> None:
    prompts = from_table(outputs["prompts"].folder.read_all(Prompt), Prompt)
    trained = {s.prompt_id for s in from_table(outputs["curate"].folder.read_all(Sample), Sample)}
    scored = {s.prompt_id for s in from_table(outputs["evaluate_after"].folder.read_all(Score), Score)}
    assert scored == {p.prompt_id for p in prompts if p.split in ("test", "longer", "held_out")}
    assert not trained & scored


def test_the_student_changed_and_its_checkpoint_loads(outputs: dict[str, Output]) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    from stillery.sampling.models import resolve_model

    after = AutoModelForCausalLM.from_pretrained(outputs["sft"].folder.local / "checkpoint").state_dict()
    before = AutoModelForCausalLM.from_pretrained(resolve_model("embedded:student")).state_dict()
    assert after.keys() == before.keys()
    assert any(not torch.equal(after[name].float(), before[name].float()) for name in after)


def test_the_model_version_leads_back_to_the_run(outputs: dict[str, Output], run_folder: Path) -> None:
    from mlflow import MlflowClient

    summary = outputs["register"].summary
    version = MlflowClient(summary["tracking_uri"]).get_model_version(summary["name"], str(summary["version"]))
    assert "challenger" in summary["aliases"]
    assert str(run_folder) in str(version.tags)


def test_curves_came_in_while_it_trained(outputs: dict[str, Output], registry_uri: str) -> None:
    import mlflow

    client = mlflow.MlflowClient(registry_uri, registry_uri)
    registered = client.get_run(outputs["register"].summary["run_id"])
    of_stage = f"tags.`mlflow.parentRunId` = '{registered.info.run_id}' and tags.`stillery.stage` = 'sft'"
    (trained,) = client.search_runs([registered.info.experiment_id], of_stage)
    assert trained.data.tags["stillery.live"] == outputs["sft"].folder.uri
    assert client.get_metric_history(trained.info.run_id, "eval_loss")
    assert client.list_artifacts(trained.info.run_id, "samples")


def test_the_student_is_exported_and_logged_beside_its_version(outputs: dict[str, Output]) -> None:
    from mlflow import MlflowClient

    registered, exported = outputs["register"].summary, outputs["export"]
    (candidate,) = exported.summary["candidates"]
    assert (candidate["format"], candidate["quantization"], candidate["failed"]) == ("gguf", "Q8_0", [])
    kept = exported.folder.local / candidate["folder"]
    assert sum((kept / name).stat().st_size for name in ("model.gguf", "Modelfile")) == candidate["size_bytes"]
    client = MlflowClient(registered["tracking_uri"])
    tags = client.get_model_version(registered["name"], str(registered["version"])).tags
    assert f"{candidate['size_bytes']} bytes" in tags["stillery.export.gguf.Q8_0"]
    logged = client.list_artifacts(registered["run_id"], f"exports/{candidate['folder']}")
    assert {Path(file.path).name for file in logged} >= {"model.gguf", "manifest.json", "README.md"}


def test_the_report_holds_the_measured_accuracy(outputs: dict[str, Output]) -> None:
    page = Path(outputs["report"].summary["path"].removeprefix("file://")).read_text()
    assert "<html" in page
    assert outputs["sft"].fingerprint in page


def test_a_finished_run_does_nothing_and_says_so(
    outputs: dict[str, Output], run_folder: Path, registry_uri: str, capsys: pytest.CaptureFixture[str]
) -> None:
    again = run_pipeline(small_config(run_folder, f"register.tracking_uri={registry_uri}"))
    assert {name: o.fingerprint for name, o in again.items()} == {n: o.fingerprint for n, o in outputs.items()}
    assert "nothing to do" in capsys.readouterr().out


def test_the_same_samples_train_no_student_again(
    outputs: dict[str, Output], run_folder: Path, registry_uri: str
) -> None:
    """The teacher's samples are taken from the log under a new setting, and come out the same."""
    changed = ("teacher.engine={max_model_len: 1000, max_num_seqs: 256}", f"register.tracking_uri={registry_uri}")
    again = run_pipeline(small_config(run_folder, *changed), until="sft")
    same = {name: again[name].fingerprint == outputs[name].fingerprint for name in again}
    assert same == {"prompts": True, "generate": False, "verify": True, "curate": True, "sft": True}
    assert again["generate"].content == outputs["generate"].content


def test_more_samples_later_reuse_those_that_are_there(
    outputs: dict[str, Output], run_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    more = run_pipeline(small_config(run_folder, "teacher.samples_per_prompt=5"), until="generate")
    old = {row.sample_id: row for row in from_table(outputs["generate"].folder.read_all(Generation), Generation)}
    new = {row.sample_id: row for row in from_table(more["generate"].folder.read_all(Generation), Generation)}
    assert "120 of 150 samples are in the log already" in capsys.readouterr().out
    assert {key: new[key] for key in old} == old
    assert outputs["generate"].folder.exists("manifest.json"), "the old output must stay"


def test_a_stopping_rule_counts_what_is_logged_and_stops_each_prompt(
    outputs: dict[str, Output], run_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rule = ("teacher.samples_per_prompt=6", "teacher.accepted_per_prompt=2")
    adaptive = run_pipeline(small_config(run_folder, *rule), until="curate")
    rows = from_table(adaptive["generate"].folder.read_all(Generation), Generation)
    verdicts = from_table(adaptive["verify"].folder.read_all(Verdict), Verdict)
    correct = {v.sample_id for v in verdicts if v.verdict == "correct" and v.template == "ok"}
    of_prompt: dict[str, list[Generation]] = {}
    for row in rows:
        of_prompt.setdefault(row.prompt_id, []).append(row)
    for samples in of_prompt.values():
        counted = [row for row in samples if not row.surplus]
        texts = {row.completion.strip() for row in counted if row.sample_id in correct}
        assert len(texts) == 2 or len(counted) == 6
        assert counted[-1].sample_id in correct or len(counted) == 6, "it went on after the second acceptance"
    logged = {row.sample_id for row in from_table(outputs["generate"].folder.read_all(Generation), Generation)}
    assert logged <= {row.sample_id for row in rows}, "what was in the log must be reused"


def test_a_run_can_be_recorded_for_another(outputs: dict[str, Output], tmp_path: Path) -> None:
    recorded = small_config(
        tmp_path, "teacher.kind=recorded", "teacher.model=earlier",
        f"teacher.recorded.files=[{outputs['generate'].folder.local}]",
    )  # fmt: skip
    again = run_pipeline(recorded, until="curate")
    assert again["verify"].summary["verdicts"] == outputs["verify"].summary["verdicts"]
    assert again["curate"].summary["kept"] == outputs["curate"].summary["kept"]
    assert again["generate"].summary["recorded"]["used"] == outputs["generate"].summary["num_samples"]


def test_code_and_judged_answers_go_from_prompt_to_training_row(tmp_path: Path) -> None:
    problems = [
        {"question": "Square x.", "tests": ["assert square(3) == 9"], "prompt_id": "code"},
        {
            "question": "Why is the sky blue?",
            "answer": "Rayleigh scattering",
            "answer_kind": "judged",
            "prompt_id": "sky",
        },
    ]
    code = "```python\ndef square(x): return {}\n```"
    said = [("code", code.format("x * x")), ("code", code.format("2 * x")), ("sky", "Short waves are scattered more.")]
    samples = [{"prompt_id": name, "completion": f"<think>\nHm.\n</think>\n{text}"} for name, text in said]
    held = [{"question": f"What is {n} + 4?", "answer": str(n + 4)} for n in (3, 5)]
    files = {"train": problems, "validation": held[:1], "test": held[1:], "recorded": samples}
    for name, rows in files.items():
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    with chat_server("It names the cause.\nVerdict: correct") as address:
        config = small_config(
            tmp_path / "run", "prompts.source=file", *(f"prompts.{n}={tmp_path}/{n}.jsonl" for n in list(files)[:3]),
            "teacher.kind=recorded", "teacher.model=earlier", f"teacher.recorded.files=[{tmp_path}/recorded.jsonl]",
            "curate.require_template=false", "verify.judge.kind=endpoint", "verify.judge.model=big",
            f"verify.judge.endpoint.base_url={address}",
        )  # fmt: skip
        outputs = run_pipeline(config, until="curate")
    verdicts = by_prompt(outputs["verify"].folder, Verdict)
    assert [(v.prompt_id, v.verdict, v.detail) for v in verdicts] == [
        ("code", "correct", "passed 1 test"),
        ("code", "wrong", "test 1 of 1: AssertionError: it gave 6; the test is 'assert square(3) == 9'"),
        ("sky", "correct", "judge: It names the cause.\nVerdict: correct"),
    ]
    trained = by_prompt(outputs["curate"].folder, Sample)
    assert [(row.prompt_id, row.completion[0].content.rpartition("</think>")[2].strip()) for row in trained] == [
        ("code", code.format("x * x")),
        ("sky", "Short waves are scattered more."),
    ]
    choices = by_prompt(outputs["curate"].folder / "choices", Choice)
    assert [choice.reason for choice in choices] == [None, "wrong", None]


def by_prompt(folder: Folder, record: type[Any]) -> list[Any]:
    """The rows of a table, a prompt's in their order."""
    return sorted(from_table(folder.read_all(record), record), key=lambda row: row.prompt_id)


def test_a_server_can_be_the_teacher(tmp_path: Path) -> None:
    with chat_server("<think>\nno idea\n</think>\n<answer>1</answer>") as address:
        config = small_config(
            tmp_path, "teacher.kind=endpoint", "teacher.model=tiny", f"teacher.endpoint.base_url={address}",
            "teacher.endpoint.input_price=2", "teacher.endpoint.output_price=4",
        )  # fmt: skip
        outputs = run_pipeline(config, until="verify")
    rows = from_table(outputs["generate"].folder.read_all(Generation), Generation)
    assert len(rows) == 4 * 30
    assert {(row.model, row.num_tokens, row.finish_reason) for row in rows} == {("endpoint:tiny", 7, "stop")}
    assert sum(outputs["verify"].summary["verdicts"].values()) == 120


def test_a_server_that_refuses_the_model_ends_the_run_with_one_line(tmp_path: Path) -> None:
    with chat_server("", status=404) as address:
        config = small_config(
            tmp_path, "teacher.kind=endpoint", "teacher.model=tiny", f"teacher.endpoint.base_url={address}"
        )
        with pytest.raises(Exception, match=r"check teacher\.model, which is tiny") as caught:
            run_pipeline(config, until="generate")
    assert isinstance(caught.value, UserError)


@contextlib.contextmanager
def chat_server(completion: str, *, status: int = 200) -> Iterator[str]:
    """An OpenAI-compatible server with a constant answer; yields its address."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            choice = {"message": {"content": completion}, "finish_reason": "stop"}
            answer = {"choices": [choice], "usage": {"prompt_tokens": 3, "completion_tokens": 7}}
            body = json.dumps(answer if status == 200 else {"error": {"message": "no such model"}}).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/v1"
    server.shutdown()
    server.server_close()


def test_a_changed_setting_re_runs_only_what_it_reaches(outputs: dict[str, Output], run_folder: Path) -> None:
    changed = run_pipeline(small_config(run_folder, "curate.max_per_prompt=3"), until="curate")
    assert changed["generate"].fingerprint == outputs["generate"].fingerprint
    assert changed["verify"].fingerprint == outputs["verify"].fingerprint
    assert changed["curate"].fingerprint != outputs["curate"].fingerprint


def test_the_log_holds_no_sample_twice(outputs: dict[str, Output], run_folder: Path) -> None:
    log = Folder(str(run_folder / "log"))
    for key in log.names():
        sample_log = SampleLog(log / key)
        tables = sample_log.read(sample_log.files(), columns=("sample_id",)).tables
        ids = [sample for table in tables.values() for sample in table.column("sample_id").to_pylist()]
        assert ids
        assert len(ids) == len(set(ids))
        folders = {name.partition("/")[0] for name in tables}
        assert len(tables) == len(folders), "the files of a batch were not put together"


def test_gsm8k_goes_through_to_verdicts(tmp_path: Path) -> None:
    """Real problems that the embedded teacher cannot solve: every sample still gets a verdict, none is an error."""
    folder = shared_data("gsm8k")
    config = load_config(
        DEMO.with_name("gsm8k.yaml"),
        [
            f"run.dir={tmp_path}",
            f"prompts.train={folder}/train.jsonl",
            f"prompts.test={folder}/test.jsonl",
            "prompts.limit_train=8",
            "prompts.limit_test=4",
            "teacher.samples_per_prompt=1",
        ],
    )
    summary = run_pipeline(config, until="verify")["verify"].summary
    assert sum(summary["verdicts"].values()) == 8
    assert not {"error", "timeout"} & set(summary["verdicts"])


def test_a_version_is_benchmarked_and_its_run_knows(
    outputs: dict[str, Output], registry_uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last test here: the receipt lies in the run's folder, and its report is then another."""
    monkeypatch.setenv("STILLERY_HOME", str(tmp_path))
    prompts = [p for p in from_table(outputs["prompts"].folder.read_all(Prompt), Prompt) if p.split == "test"]
    columns = ("question", "answer", "answer_kind", "choices")
    rows = [json.dumps({column: getattr(prompt, column) for column in columns}) for prompt in prompts]
    (tmp_path / "mine.jsonl").write_text("\n".join(rows))
    model = f"models:/stillery-student/{outputs['register'].summary['version']}"
    command = ["benchmark", model, "--tasks", "mine", "--data", str(tmp_path), "--samples", "2", "--max-tokens", "512"]
    settings = ["evaluate.engine.max_model_len=1024", f"register.tracking_uri={registry_uri}"]
    assert main([*command, *settings]) == 0
    (receipt,) = (json.loads(path.read_text()) for path in tmp_path.glob("benchmarks/*/receipts/*.json"))
    assert receipt["tasks"]["mine"]["result"]["num_problems"] == len(prompts)
    assert receipt["engine"]["versions"]["torch"]
    run = Folder(outputs["prompts"].folder.uri.partition("/stages/")[0])
    assert [json.loads((run / "benchmarks").read_bytes(name)) for name in (run / "benchmarks").names()] == [receipt]
