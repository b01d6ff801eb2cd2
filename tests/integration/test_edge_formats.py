"""ONNX Runtime GenAI and ExecuTorch for real: the embedded student converted, and run in each runtime.

The converters take 20 to 100 s of one core each; two run at a time, and all tests use the same artifacts.
"""

import json
import shutil
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

import stillery
from stillery.errors import UserError
from stillery.export.formats import FORMATS, Runtime
from stillery.export.parity.figures import QUESTIONS, log_softmax
from stillery.export.parity.reference import CheckpointRuntime
from stillery.problems.buckets import Bucket, draw

pytest.importorskip("executorch")
pytest.importorskip("onnxruntime_genai")

_STUDENT = Path(stillery.__file__).parent / "tiny_models" / "models" / "student"
_UNQUANTIZED = [("executorch", "fp32"), ("onnx", "fp32")]
_QUANTIZED = [("executorch", "8da4w-g32"), ("onnx", "int4-k-quant-mixed")]
_FORMS = _UNQUANTIZED + _QUANTIZED
_FILES = {
    "executorch": {"model.pte", "prompt.json"},
    "onnx": {"model.onnx", "model.onnx.data", "genai_config.json"},
}
_SHARED_FILES = {"tokenizer.json", "tokenizer_config.json", "chat_template.jinja"}
_WEIGHTS = {"executorch": "model.pte", "onnx": "model.onnx.data"}
_TEXTS = (
    "",
    " ",
    "x",
    "3 * x + 4 = 19\n\n\tyes",
    "<|im_start|>user\n<think>é 漢字 😀</think><|im_end|>",
    "it's  THEY'RE 12345",
)

Form = tuple[str, str]
Artifacts = dict[Form, "Future[Path]"]


@pytest.fixture(scope="module")
def artifacts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Artifacts]:
    """A folder for each form, once its conversion has ended."""
    root = tmp_path_factory.mktemp("edge")

    def convert(form: Form) -> Path:
        name, quantization = form
        out = root / f"{name}-{quantization}"
        out.mkdir()
        FORMATS[name]().write(_STUDENT, out, quantization=quantization, calibration=())
        return out

    with ThreadPoolExecutor(max_workers=2) as pool:
        yield {form: pool.submit(convert, form) for form in _FORMS}


@pytest.fixture(scope="module")
def reference() -> CheckpointRuntime:
    return CheckpointRuntime(_STUDENT)


@pytest.fixture(scope="module")
def prompts(reference: CheckpointRuntime) -> list[list[int]]:
    problems = [p for task in ("equations", "last_letters") for p in draw(Bucket.TEST, task=task, count=4, seed=0)]
    return [reference.tokenize(reference.render(problem.question)) for problem in problems]


@pytest.fixture(scope="module")
def answers(reference: CheckpointRuntime, prompts: list[list[int]]) -> list[list[int]]:
    return [reference.generate(prompt, max_new_tokens=48) for prompt in prompts]


@pytest.fixture(scope="module")
def runtimes(artifacts: Artifacts) -> Iterator[dict[Form, Runtime]]:
    loaded = {form: FORMATS[form[0]]().load(folder.result()) for form, folder in artifacts.items()}
    yield loaded
    for runtime in loaded.values():
        runtime.close()


def _name(form: Form) -> str:
    return "-".join(form)


def _log_probabilities(runtime: Runtime, sequences: Sequence[list[int]]) -> np.ndarray:
    return np.concatenate([log_softmax(runtime.logits(sequence)) for sequence in sequences])


def test_problems_answered_together_are_answered_as_alone(
    reference: CheckpointRuntime, prompts: list[list[int]], answers: list[list[int]]
) -> None:
    assert len({len(prompt) for prompt in prompts}) > 1
    assert len({len(answer) for answer in answers}) > 1
    assert reference.generate_batch(prompts, max_new_tokens=48) == answers


@pytest.mark.parametrize("form", _FORMS, ids=_name)
def test_exactly_the_files_that_the_runners_need_are_written(artifacts: Artifacts, form: Form) -> None:
    folder = artifacts[form].result()
    assert {path.name for path in folder.iterdir()} == _FILES[form[0]] | _SHARED_FILES


@pytest.mark.parametrize("form", _UNQUANTIZED, ids=_name)
def test_an_unquantized_form_has_the_checkpoints_logits(
    runtimes: dict[Form, Runtime],
    reference: CheckpointRuntime,
    prompts: list[list[int]],
    answers: list[list[int]],
    form: Form,
) -> None:
    for prompt, answer in zip(prompts, answers, strict=True):
        expected = reference.logits(prompt + answer)
        found = runtimes[form].logits(prompt + answer)
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-3)


@pytest.mark.parametrize("form", _UNQUANTIZED, ids=_name)
def test_an_unquantized_form_answers_token_for_token(
    runtimes: dict[Form, Runtime], prompts: list[list[int]], answers: list[list[int]], form: Form
) -> None:
    assert [runtimes[form].generate(prompt, max_new_tokens=48) for prompt in prompts] == answers


@pytest.mark.parametrize("form", _QUANTIZED, ids=_name)
def test_a_quantized_form_is_close_and_smaller(
    artifacts: Artifacts,
    runtimes: dict[Form, Runtime],
    reference: CheckpointRuntime,
    prompts: list[list[int]],
    answers: list[list[int]],
    form: Form,
) -> None:
    sequences = [prompt + answer for prompt, answer in zip(prompts, answers, strict=True)]
    theirs, ours = (_log_probabilities(runtime, sequences) for runtime in (reference, runtimes[form]))
    kl = float((np.exp(theirs) * (theirs - ours)).sum(axis=-1).mean())
    assert 1e-6 < kl < 0.05
    assert (theirs.argmax(axis=-1) == ours.argmax(axis=-1)).mean() > 0.9
    weights = _WEIGHTS[form[0]]
    sizes = [(artifacts[f].result() / weights).stat().st_size for f in (form, (form[0], "fp32"))]
    assert sizes[0] < 0.4 * sizes[1]


@pytest.mark.parametrize("form", _FORMS, ids=_name)
def test_an_answer_ends_after_its_end_token_or_at_the_limit(
    runtimes: dict[Form, Runtime], reference: CheckpointRuntime, prompts: list[list[int]], form: Form
) -> None:
    (end,) = reference.checkpoint.end_tokens
    answer = runtimes[form].generate(prompts[0], max_new_tokens=48)
    assert answer.index(end) == len(answer) - 1
    assert runtimes[form].generate(prompts[0], max_new_tokens=2) == answer[:2]
    assert runtimes[form].generate(prompts[0], max_new_tokens=0) == []


@pytest.mark.parametrize("form", _UNQUANTIZED, ids=_name)
def test_texts_and_questions_become_the_checkpoints_tokens(
    runtimes: dict[Form, Runtime], reference: CheckpointRuntime, form: Form
) -> None:
    assert [runtimes[form].tokenize(text) for text in _TEXTS] == [reference.tokenize(text) for text in _TEXTS]
    assert [runtimes[form].render(text) for text in QUESTIONS] == [reference.render(text) for text in QUESTIONS]


@pytest.mark.parametrize("form", _UNQUANTIZED, ids=_name)
@pytest.mark.parametrize("fault", ["cut short", "missing", "no tokenizer"])
def test_a_damaged_artifact_is_refused(artifacts: Artifacts, tmp_path: Path, form: Form, fault: str) -> None:
    folder = Path(shutil.copytree(artifacts[form].result(), tmp_path / "damaged"))
    weights = folder / _WEIGHTS[form[0]]
    if fault == "cut short":
        weights.write_bytes(weights.read_bytes()[:10_000])
    elif fault == "missing":
        weights.unlink()
    else:
        (folder / "tokenizer.json").unlink()
    with pytest.raises(UserError, match="can't load it"):
        FORMATS[form[0]]().load(folder)


def test_the_runner_of_the_phones_gives_the_same_answer(
    artifacts: Artifacts, runtimes: dict[Form, Runtime], reference: CheckpointRuntime
) -> None:
    from executorch.extension.llm.runner import GenerationConfig, TextLLMRunner

    form = ("executorch", "fp32")
    folder = artifacts[form].result()
    layout = json.loads((folder / "prompt.json").read_text())
    prompt = layout["prefix"] + "Solve for x: 3 * x + 4 = 19" + layout["suffix"]
    pieces: list[str] = []
    runner = TextLLMRunner(str(folder / "model.pte"), str(folder / "tokenizer.json"))
    runner.generate(prompt, GenerationConfig(temperature=0.0, max_new_tokens=48, echo=False), pieces.append)
    *answer, _ = runtimes[form].generate(reference.tokenize(prompt), max_new_tokens=48)
    assert "".join(pieces).removesuffix("<|im_end|>") == reference.decode(answer)


def test_the_end_tokens_are_the_checkpoints_own(artifacts: Artifacts, reference: CheckpointRuntime) -> None:
    config = json.loads((artifacts[("onnx", "fp32")].result() / "genai_config.json").read_text())
    assert config["model"]["eos_token_id"] == list(reference.checkpoint.end_tokens)
    assert "bos_token_id" not in config["model"]
