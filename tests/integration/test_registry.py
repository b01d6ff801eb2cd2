"""Registration with a real MLflow on SQLite: lineage, aliases, the gate, and repeated or killed calls."""

import dataclasses
import json
import shutil
import socket
import time
from pathlib import Path
from typing import Any

import pytest

from stillery.cli.push import push
from stillery.config import Config, RegisterConfig, to_yaml
from stillery.errors import UserError
from stillery.io.run_folder import Output, Run
from stillery.io.storage import Folder
from stillery.metrics import summarize
from stillery.records import Score
from stillery.registry import mlflow_store
from stillery.registry.opponent import Measure
from stillery.stages.register import register


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Qwen3 of a few thousand weights, with a tokenizer and a chat template."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

    folder = tmp_path_factory.mktemp("checkpoint")
    backend = Tokenizer(models.WordLevel({"<unk>": 0, "<eos>": 1, "one": 2, "two": 3}, unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="<unk>", eos_token="<eos>")
    tokenizer.chat_template = "{% for m in messages %}{{ m.content }}{% endfor %}"
    tokenizer.save_pretrained(folder)
    config = Qwen3Config(
        vocab_size=4, hidden_size=8, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2,
        num_key_value_heads=1, head_dim=4, tie_word_embeddings=True,
    )  # fmt: skip
    Qwen3ForCausalLM(config).save_pretrained(folder)
    return folder


def _score(problem: str, index: int, *, correct: bool) -> Score:
    return Score(
        model="m",
        prompt_id=problem,
        sample_id=f"{problem}-{index}",
        sample_index=index,
        task="t",
        split="test",
        num_steps=None,
        question="q",
        gold="1",
        completion="c",
        predicted="1",
        verdict="correct" if correct else "wrong",
        template="ok",
        num_tokens=5,
        finish_reason="stop",
    )


def score_rows(share: float, *, question: str = "q") -> list[Score]:
    scores = [_score(f"p{n}", i, correct=i < 4 * share) for n in range(12) for i in range(4)]
    return [dataclasses.replace(score, question=question) for score in scores]


def make_outputs(
    folder: Path, *, before: float, after: float, question: str = "q", temperature: float = 1.0
) -> dict[str, Output]:
    """Finished outputs of the stages that registration reads."""
    run = Run(Folder(str(folder)), "abc123")
    summaries: dict[str, dict[str, Any]] = {s: {"count": 7} for s in ("prompts", "generate", "curate", "sft")}
    for stage, share in (("evaluate_teacher", 1.0), ("evaluate_before", before), ("evaluate_after", after)):
        rows = score_rows(share, question=question)
        run.stage_folder(stage, f"fp-{stage}").write_rows("scores.parquet", rows, Score)
        protocol = {"sampling": {"temperature": temperature}}
        summaries[stage] = {**summarize(rows, ks=[1, 4]), "protocol": protocol}
    history = [{"step": s, "epoch": s / 2, "loss": 2.0 / s, "learning_rate": 1e-4} for s in (1, 2, 3)]
    run.stage_folder("sft", "fp-sft").write_bytes("history.json", json.dumps(history).encode())
    settings = {"engine": {"hf_token": "hf_secret"}}
    return {
        stage: run.complete(stage, f"fp-{stage}", version=1, settings=settings, inputs={}, summary=summary)
        for stage, summary in summaries.items()
    }


def refuse_to_measure(checkpoint: Path) -> tuple[Folder, dict[str, Any]]:
    raise AssertionError(f"{checkpoint} was measured again")


def _register(
    home: Path,
    checkpoint: Path,
    *,
    run: str = "one",
    before: float = 0.25,
    after: float = 0.75,
    measure: Measure = refuse_to_measure,
    adapter: Path | None = None,
    **how: Any,
) -> dict[str, Any]:
    config = Config()
    config.teacher.engine = {"hf_token": "hf_secret"}
    return register(
        RegisterConfig(tracking_uri=f"sqlite:///{home}/mlflow.db"),
        run_uri=str(home / run),
        git_revision="abc123",
        fingerprint=f"register-{run}",
        resolved_config=to_yaml(config),
        outputs=make_outputs(home / run, before=before, after=after, **how),
        checkpoint=checkpoint,
        out=Folder(str(home / run / "out")),
        measure=measure,
        adapter=adapter,
    )


def _client(home: Path) -> Any:
    import mlflow

    uri = f"sqlite:///{home}/mlflow.db"
    return mlflow.MlflowClient(uri, uri)


def _download(home: Path, alias: str) -> Path:
    import mlflow

    mlflow.set_tracking_uri(f"sqlite:///{home}/mlflow.db")
    return Path(mlflow.artifacts.download_artifacts(f"models:/stillery-student@{alias}"))


def test_a_version_describes_itself_and_is_pushed_with_that_card(tmp_path: Path, checkpoint: Path) -> None:
    _register(tmp_path, checkpoint)
    card = _client(tmp_path).get_model_version("stillery-student", "1").description
    assert "| test | this model | 12 | 0.750 ± " in card
    assert "| test | untouched | 12 | 0.250 ± " in card
    assert "- fingerprint.sft: `fp-sft`" in card
    assert "hf_secret" not in card
    assert str(tmp_path) not in card
    out = tmp_path / "pushed"
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    said = push("models:/stillery-student@champion", to=None, out=out, private=False, tracking_uri=uri)
    assert "as a model; licence apache-2.0; nothing was uploaded" in said
    assert (out / "README.md").read_text() == card
    assert (out / "model.safetensors").read_bytes() == (checkpoint / "model.safetensors").read_bytes()


def test_the_adapter_is_kept_beside_the_student_that_it_was_merged_into(tmp_path: Path, checkpoint: Path) -> None:
    adapter = tmp_path / "adapter"
    adapter.mkdir()
    (adapter / "adapter_config.json").write_text('{"peft_type": "LORA"}')
    (adapter / "adapter_model.safetensors").write_bytes(b"weights")
    summary = _register(tmp_path, checkpoint, adapter=adapter)
    client = _client(tmp_path)
    tags = client.get_model_version(summary["name"], summary["version"]).tags
    assert tags["stillery.adapter"] == f"runs:/{summary['run_id']}/adapter"
    kept = Path(client.download_artifacts(summary["run_id"], "adapter"))
    assert {path.name: path.read_bytes() for path in kept.iterdir()} == {
        path.name: path.read_bytes() for path in adapter.iterdir()
    }
    assert not list(_download(tmp_path, "challenger").rglob("adapter*")), "the student is whole without it"


def test_a_registered_student_has_its_whole_lineage(tmp_path: Path, checkpoint: Path) -> None:
    summary = _register(tmp_path, checkpoint)
    client = _client(tmp_path)

    run = client.get_run(summary["run_id"])
    assert run.info.status == "FINISHED"
    assert run.data.tags["stillery.git_revision"] == "abc123"
    assert run.data.tags["stillery.teacher"] == "embedded:teacher"
    assert run.data.params["teacher.engine.hf_token"] == "***"
    assert run.data.metrics["student_after/test/pass_at_1"] == pytest.approx(0.75)
    assert [m.step for m in client.get_metric_history(summary["run_id"], "train/loss")] == [1, 2, 3]
    assert {d.dataset.digest for d in run.inputs.dataset_inputs} == {"fp-prompts", "fp-generate", "fp-curate"}
    assert {a.path for a in client.list_artifacts(summary["run_id"])} >= {"config.yaml", "manifests", "scores"}
    children = client.search_runs(
        [run.info.experiment_id], f"tags.`mlflow.parentRunId` = '{summary['run_id']}'", max_results=50
    )
    assert {c.info.run_name for c in children} == set(make_outputs(tmp_path / "x", before=0, after=1))

    version = client.get_model_version("stillery-student", summary["version"])
    assert version.run_id == summary["run_id"]
    assert version.tags["stillery.run_uri"] == str(tmp_path / "one")
    assert version.tags["stillery.fingerprint.generate"] == "fp-generate"
    assert version.tags["stillery.fingerprint.curate"] == "fp-curate"
    assert version.tags["stillery.fingerprint.sft"] == "fp-sft"
    assert "student_after/test/pass_at_1" not in version.tags
    model = client.get_logged_model(version.source.removeprefix("models:/"))
    assert {m.key: m.value for m in model.metrics}["student_after/test/pass_at_1"] == pytest.approx(0.75)
    stored = [
        p.read_text(errors="ignore") for p in tmp_path.glob("mlartifacts/**/*.*") if p.suffix in (".yaml", ".json")
    ]
    assert stored
    assert not [text for text in stored if "hf_secret" in text]


def test_the_registered_folder_loads_in_transformers(tmp_path: Path, checkpoint: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    summary = _register(tmp_path, checkpoint)
    folder = _download(tmp_path, "challenger") / summary["checkpoint_folder"]
    model, loading = AutoModelForCausalLM.from_pretrained(folder, output_loading_info=True)
    assert not loading["missing_keys"]
    assert (folder / "model.safetensors").read_bytes() == (checkpoint / "model.safetensors").read_bytes()
    assert model.config.hidden_size == 8
    assert AutoTokenizer.from_pretrained(folder).chat_template is not None


def test_the_gate_over_three_students(tmp_path: Path, checkpoint: Path) -> None:
    first = _register(tmp_path, checkpoint, run="one", before=0.25, after=0.5)
    assert first["aliases"] == ["challenger", "champion"]
    assert first["gain"]["mean"] == pytest.approx(0.25)
    assert first["decision"].startswith("beats the untouched student")

    worse = _register(tmp_path, checkpoint, run="two", before=0.0, after=0.25)
    assert worse["aliases"] == ["challenger"]
    assert worse["decision"].startswith("does not beat champion version 1")

    better = _register(tmp_path, checkpoint, run="three", after=1.0)
    assert better["aliases"] == ["challenger", "champion"]
    assert better["version"] == "3"
    assert better["decision"].startswith("beats champion version 1")


@dataclasses.dataclass
class Champion:
    """Measures a champion: what it is asked to measure, and how that does on the new problems in the new way."""

    folder: Folder
    rate: float
    how: dict[str, Any]
    seen: list[bytes] = dataclasses.field(default_factory=list[bytes])

    def measure(self, checkpoint: Path) -> tuple[Folder, dict[str, Any]]:
        self.seen.append((checkpoint / "model.safetensors").read_bytes())
        rows = score_rows(self.rate, question=self.how.get("question", "q"))
        self.folder.write_rows("scores.parquet", rows, Score)
        return self.folder, {"protocol": {"sampling": {"temperature": self.how.get("temperature", 1.0)}}}


@pytest.mark.parametrize("how", [{"question": "another q"}, {"temperature": 0.2}])
def test_a_champion_measured_otherwise_is_measured_again(
    tmp_path: Path, checkpoint: Path, how: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both were promoted at +34 points before: the ids of the problems agreed, and nothing else was compared."""
    monkeypatch.setenv("STILLERY_HOME", str(tmp_path / "home"))
    champion = Champion(Folder(str(tmp_path / "measured")), 0.75, how)
    _register(tmp_path, checkpoint, run="one", before=0.0, after=0.25)
    second = _register(tmp_path, checkpoint, run="two", before=0.0, after=0.5, measure=champion.measure, **how)
    assert second["aliases"] == ["challenger"]
    assert second["decision"].startswith("does not beat champion version 1: test pass@1 -25.0 points")
    assert champion.seen == [(checkpoint / "model.safetensors").read_bytes()]

    # What was measured stays with the challenger's run, and a repeated call measures nothing.
    kept = {a.path for a in _client(tmp_path).list_artifacts(second["run_id"], "scores")}
    assert {"scores/champion-1.parquet", "scores/champion-1.json"} <= kept
    assert _register(tmp_path, checkpoint, run="two", before=0.0, after=0.5, **how) == second

    better = _register(tmp_path, checkpoint, run="three", before=0.0, after=1.0, measure=champion.measure, **how)
    assert better["decision"].startswith("beats champion version 1: test pass@1 +25.0 points")


def test_a_champion_that_cannot_be_fetched_stays(
    tmp_path: Path, checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STILLERY_HOME", str(tmp_path / "home"))
    first = _register(tmp_path, checkpoint, run="one", before=0.0, after=0.25)
    (model,) = _client(tmp_path).search_logged_models([_client(tmp_path).get_run(first["run_id"]).info.experiment_id])
    shutil.rmtree(model.artifact_location.removeprefix("file://"))
    second = _register(tmp_path, checkpoint, run="two", before=0.0, after=1.0, temperature=0.2)
    assert second["aliases"] == ["challenger"]
    assert second["gain"] is None
    for part in (
        "temperature 1.0 against 0.2",
        "could not be measured again (models:/stillery-student/1 could not be fetched",
    ):
        assert part in second["decision"]


def _contents(home: Path) -> dict[str, int]:
    """How many of each thing the store holds."""
    client = _client(home)
    (experiment,) = [e for e in client.search_experiments() if e.name == "stillery"]
    return {
        "runs": len(client.search_runs([experiment.experiment_id])),
        "models": len(client.search_logged_models([experiment.experiment_id])),
        "versions": len(client.search_model_versions("name = 'stillery-student'")),
        "files": len([p for p in home.glob("mlartifacts/**/*") if p.is_file()]),
    }


def test_a_second_call_repeats_nothing(tmp_path: Path, checkpoint: Path) -> None:
    first = _register(tmp_path, checkpoint)
    contents = _contents(tmp_path)
    assert _register(tmp_path, checkpoint) == first
    assert _contents(tmp_path) == contents
    assert contents["versions"] == contents["models"] == 1


@pytest.mark.parametrize("step", ["log_params", "log_checkpoint", "register_version", "before_done"])
def test_a_killed_call_is_completed_by_the_next(tmp_path: Path, checkpoint: Path, step: str) -> None:
    """The state that a kill leaves is made by undoing what comes after the step."""
    whole = _register(tmp_path, checkpoint)
    contents = _contents(tmp_path)
    client = _client(tmp_path)
    client.delete_tag(whole["run_id"], mlflow_store.DONE_TAG)
    client.update_run(whole["run_id"], status="RUNNING")
    if step != "before_done":
        client.delete_registered_model("stillery-student")
    if step == "log_params":
        (model,) = client.search_logged_models([client.get_run(whole["run_id"]).info.experiment_id])
        client.delete_logged_model(model.model_id)
    again = _register(tmp_path, checkpoint)
    assert again["run_id"] == whole["run_id"]
    assert again["decision"] == whole["decision"]
    assert again["aliases"] == ["challenger", "champion"]
    assert client.get_run(again["run_id"]).info.status == "FINISHED"
    assert {**_contents(tmp_path), "files": 0} == {**contents, "files": 0}


def test_an_alias_moved_by_hand_stays_where_it_is(tmp_path: Path, checkpoint: Path) -> None:
    _register(tmp_path, checkpoint, run="one", before=0.0, after=0.5)
    second = _register(tmp_path, checkpoint, run="two", before=0.0, after=1.0)
    assert "champion" in second["aliases"]
    _client(tmp_path).set_registered_model_alias("stillery-student", "champion", "1")
    assert _register(tmp_path, checkpoint, run="two", before=0.0, after=1.0)["aliases"] == ["challenger"]


def test_the_same_settings_in_another_run_are_another_version(tmp_path: Path, checkpoint: Path) -> None:
    first = _register(tmp_path, checkpoint, run="one")
    assert _register(tmp_path, checkpoint, run="two")["run_id"] != first["run_id"]


def test_an_unreachable_server_is_named_soon(tmp_path: Path, checkpoint: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        uri = f"http://ann:pw@127.0.0.1:{free.getsockname()[1]}"
    started = time.monotonic()
    with pytest.raises(UserError) as caught:
        register(
            RegisterConfig(tracking_uri=uri),
            run_uri=str(tmp_path),
            git_revision="abc",
            fingerprint="f",
            resolved_config=to_yaml(Config()),
            outputs=make_outputs(tmp_path, before=0, after=1),
            checkpoint=checkpoint,
            out=Folder(str(tmp_path / "out")),
            measure=refuse_to_measure,
        )
    assert time.monotonic() - started < 45
    assert "MLflow cannot be used at http://***@127.0.0.1" in str(caught.value)
    assert "register.tracking_uri" in str(caught.value)
    assert "pw" not in str(caught.value)


def test_a_missing_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no config\.json"):
        _register(tmp_path, tmp_path / "gone")
