"""The parity gate on real files in llama.cpp: correct ones pass, and each planted fault is caught by its check."""

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("gguf", reason="the extra `edge` is not installed")
pytest.importorskip("xllamacpp", reason="the extra `edge` is not installed")

from stillery.cli.main import main
from stillery.config import ExportConfig, PromptsConfig
from stillery.errors import UserError
from stillery.export.formats import format_named
from stillery.export.formats.gguf import runtime
from stillery.export.parity.corpus import build_corpus
from stillery.export.parity.figures import Parity, Reference, ask_reference, compare
from stillery.export.parity.gate import judge, thresholds_for
from stillery.export.parity.reference import CheckpointRuntime
from stillery.records import Split
from stillery.stages.prompts import draw_prompts
from support.export_models import STUDENT, copy_of, edit_json, edit_tensors, random_checkpoint

CONFIG = ExportConfig()


def ask(checkpoint: Path, *, num_problems: int = 6) -> Reference:
    """The checkpoint's answers to a few problems, and every fifth text of the corpus."""
    sizes = PromptsConfig(num_train=6, num_validation=6, num_test=num_problems, num_longer=0, num_held_out=0)
    problems = [p for p in draw_prompts(sizes, seed=0) if p.split == Split.TEST]
    asked = CheckpointRuntime(checkpoint)
    corpus = build_corpus(["<|im_end|>", "<think>", "</answer>"])[::5]
    reference = ask_reference(
        asked, problems, corpus, end_tokens=asked.checkpoint.end_tokens, decode=asked.decode, max_new_tokens=48,
        max_positions=150, context=2000,
    )  # fmt: skip
    asked.close()
    return reference


@pytest.fixture(scope="module")
def reference() -> Reference:
    return ask(STUDENT)


def figures(folder: Path, reference: Reference) -> Parity:
    loaded = format_named("gguf").load(folder)
    try:
        return compare(loaded, reference)
    finally:
        loaded.close()


def failed(parity: Parity, quantization: str = "F32") -> set[str]:
    thresholds = thresholds_for(CONFIG, quantization, is_unquantized=quantization == "F32")
    checks = judge(parity, thresholds, min_tokenizer_agreement=1.0)
    return {check.name for check in checks if not check.is_passed}


def exported(checkpoint: Path, out: Path, quantization: str = "F32") -> Path:
    out.mkdir()
    format_named("gguf").write(checkpoint, out, quantization=quantization, calibration=[])
    return out


def test_the_right_file_passes_and_differs_by_rounding_alone(tmp_path: Path, reference: Reference) -> None:
    parity = figures(exported(STUDENT, tmp_path / "right"), reference)
    assert failed(parity) == set()
    assert parity.kl < 1e-8
    assert parity.tokenizer_agreement == parity.template_agreement == parity.greedy_agreement == 1


@pytest.mark.parametrize("quantization", ["Q8_0", "Q5_0", "Q4_K_M"])
def test_quantized_files_pass_their_own_limits(tmp_path: Path, reference: Reference, quantization: str) -> None:
    parity = figures(exported(STUDENT, tmp_path / "artifact", quantization), reference)
    assert parity.kl > 1e-7
    assert failed(parity, quantization) <= {"accuracy", "stop_rate", "repetition"}, "six problems say little of these"


def wrong_rope(checkpoint: Path) -> None:
    edit_json(checkpoint / "config.json", lambda config: config["rope_parameters"].update(rope_theta=500_000.0))


def permuted_rows(checkpoint: Path) -> None:
    """Q and K in the order of the other rotary convention."""

    def permute(tensors: dict[str, Any]) -> None:
        for name, tensor in tensors.items():
            if name.endswith(("q_proj.weight", "k_proj.weight")):
                halves = tensor.reshape(-1, 2, 16, tensor.shape[1])
                tensors[name] = halves.transpose(1, 2).reshape(tensor.shape)

    edit_tensors(checkpoint, permute)


def flipped_tensor(checkpoint: Path) -> None:
    name = "model.layers.2.mlp.down_proj.weight"
    edit_tensors(checkpoint, lambda tensors: tensors.update({name: tensors[name].flip(0)}))


def wrong_end(checkpoint: Path) -> None:
    """The end of an answer's tag in place of the end of the turn."""
    edit_json(checkpoint / "generation_config.json", lambda config: config.update(eos_token_id=1023))
    edit_json(checkpoint / "tokenizer_config.json", lambda config: config.update(eos_token="</answer>"))


def wrong_template(checkpoint: Path) -> None:
    path = checkpoint / "chat_template.jinja"
    path.write_text(path.read_text().replace("assistant", "model"))


@pytest.mark.parametrize(
    ("plant", "caught_by"),
    [
        (wrong_rope, {"kl"}),
        (permuted_rows, {"kl", "top_1"}),
        (flipped_tensor, {"kl"}),
        (wrong_end, {"end_token", "greedy", "stop_rate"}),
        (wrong_template, {"chat_template"}),
    ],
)
def test_each_planted_fault_is_caught(
    tmp_path: Path, reference: Reference, plant: Callable[[Path], None], caught_by: set[str]
) -> None:
    broken = copy_of(STUDENT, tmp_path / "broken")
    plant(broken)
    caught = failed(figures(exported(broken, tmp_path / "artifact"), reference))
    assert caught_by <= caught
    # What has nothing to do with the weights leaves every figure of the logits alone.
    if plant in (wrong_end, wrong_template):
        assert not caught & {"kl", "top_1", "perplexity", "tokenizer"}


@pytest.mark.parametrize("plant", [None, wrong_rope, flipped_tensor])
def test_the_likeliest_tokens_alone_give_the_same_verdict(
    tmp_path: Path, reference: Reference, plant: Callable[[Path], None] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runtime, "MAX_LISTED", 64)
    checkpoint = copy_of(STUDENT, tmp_path / "checkpoint")
    if plant is not None:
        plant(checkpoint)
    caught = failed(figures(exported(checkpoint, tmp_path / "artifact"), reference))
    assert ("kl" in caught) == (plant is not None)


def test_a_wrong_pre_tokenizer_is_caught_by_the_tokenizer_alone(tmp_path: Path, reference: Reference) -> None:
    folder = exported(STUDENT, tmp_path / "artifact")
    data = (folder / "model.gguf").read_bytes()
    key = data.index(b"tokenizer.ggml.pre")
    assert data[key : key + 60].count(b"qwen2") == 1
    # A name of the same length, so that nothing else moves.
    (folder / "model.gguf").write_bytes(data[:key] + data[key:].replace(b"qwen2", b"gpt-2", 1))
    parity = figures(folder, reference)
    assert failed(parity) == {"tokenizer"}
    assert parity.differing


@pytest.mark.parametrize(
    ("architecture", "settings"),
    [
        ("llama", {"tie_word_embeddings": False}),
        ("qwen2", {"tie_word_embeddings": True, "head_dim": None}),
        ("qwen3", {"tie_word_embeddings": False, "head_dim": 32}),
    ],
)
def test_the_converter_check_holds_for_every_architecture(
    tmp_path: Path, architecture: str, settings: dict[str, Any]
) -> None:
    checkpoint = random_checkpoint(tmp_path / "m", architecture, **settings)
    parity = figures(exported(checkpoint, tmp_path / "artifact"), ask(checkpoint, num_problems=6))
    assert parity.kl < 1e-6
    assert parity.top_1_agreement == 1


def test_a_tokenizer_class_that_does_not_read_the_file_as_it_is_is_told(tmp_path: Path) -> None:
    checkpoint = copy_of(STUDENT, tmp_path / "m")
    texts = ["12 + 30 = 42", "<think>\n"]
    CheckpointRuntime(checkpoint).check_tokenizer(texts)
    edit_json(checkpoint / "tokenizer_config.json", lambda config: config.update(tokenizer_class="LlamaTokenizerFast"))
    with pytest.raises(UserError, match=r"as LlamaTokenizer, which cuts \d of 2 texts otherwise than tokenizer.json"):
        CheckpointRuntime(checkpoint).check_tokenizer(texts)


@pytest.mark.parametrize("template", ["{{ bos_token }}", ""])
def test_a_start_token_that_the_tokenizer_adds_and_the_template_writes_or_does_not(
    tmp_path: Path, template: str
) -> None:
    checkpoint = copy_of(STUDENT, tmp_path / "m")
    start, text = {"SpecialToken": {"id": "<think>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}
    ids = {"<think>": {"id": "<think>", "ids": [1020], "tokens": ["<think>"]}}
    processor = {"type": "TemplateProcessing", "single": [start, text], "pair": [start, text], "special_tokens": ids}
    edit_json(checkpoint / "tokenizer.json", lambda tokenizer: tokenizer.update(post_processor=processor))
    edit_json(checkpoint / "tokenizer_config.json", lambda config: config.update(bos_token="<think>"))
    path = checkpoint / "chat_template.jinja"
    path.write_text(template + path.read_text())
    parity = figures(exported(checkpoint, tmp_path / "artifact"), ask(checkpoint))
    assert parity.template_agreement == parity.tokenizer_agreement == 1


@pytest.fixture(scope="module")
def command_output(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    out = tmp_path_factory.mktemp("exports")
    arguments = ["export", "--format", "gguf", "--quantization", "Q8_0,Q4_0", "--out", str(out)]
    small = [
        "export.num_problems=8",
        "export.max_new_tokens=48",
        "export.max_positions=150",
        "export.four_bit.max_kl=0",
    ]
    assert main([*arguments, "embedded:student", *small]) == 0
    yield out
    shutil.rmtree(out)


def test_the_command_keeps_what_passed_and_only_the_report_of_what_did_not(command_output: Path) -> None:
    assert {path.name for path in command_output.iterdir()} == {
        "student-gguf-Q8_0", "student-gguf-Q4_0.failed.json", "summary.json", "size-accuracy.svg",
    }  # fmt: skip
    kept = command_output / "student-gguf-Q8_0"
    assert {path.name for path in kept.iterdir()} == {"model.gguf", "Modelfile", "README.md", "manifest.json"}
    manifest = json.loads((kept / "manifest.json").read_text())
    assert manifest["speed"]["decode_tokens_per_second"] > 0
    assert all(check["is_passed"] for check in manifest["checks"] + manifest["converter_checks"])
    assert "llama-cli -m student-gguf-Q8_0/model.gguf" in (kept / "README.md").read_text()
    report = json.loads((command_output / "student-gguf-Q4_0.failed.json").read_text())
    assert "kl" in report["failed"]
    assert report["parity"]["kl"] > 0
    assert json.loads((command_output / "summary.json").read_text())["best"] == "student-gguf-Q8_0"


def test_anyones_file_is_held_against_its_checkpoint(
    command_output: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    small = ["export.num_problems=8", "export.max_new_tokens=48", "export.max_positions=150"]
    file = tmp_path / "from-a-hub.gguf"
    shutil.copy(command_output / "student-gguf-Q8_0" / "model.gguf", file)
    assert main(["parity", "embedded:student", str(file), *small]) == 0
    assert "from-a-hub.gguf: gguf Q8_0 against embedded:student" in capsys.readouterr().out

    broken = copy_of(STUDENT, tmp_path / "broken")
    flipped_tensor(broken)
    assert (
        main(["parity", "--json", "embedded:student", str(exported(broken, tmp_path / "other", "Q8_0")), *small]) == 1
    )
    said = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert not said["passed"]
    assert "kl" in {check["name"] for check in said["checks"] if not check["is_passed"]}

    file.write_bytes(file.read_bytes()[:100_000])
    assert main(["parity", "--quantization", "Q8_0", "embedded:student", str(file), *small]) == 1
    assert "it does not answer like its checkpoint: runs" in capsys.readouterr().out
