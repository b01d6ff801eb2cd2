"""LiteRT for real, if $STILLERY_LITERT_PYTHON names its environment: the embedded student converted and run."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from stillery.errors import UserError
from stillery.export.formats.litert.format import FILE, LitertFormat
from stillery.export.formats.litert.runtime import VARIABLE, LitertRuntime, litert_python
from stillery.export.parity.corpus import build_corpus
from stillery.export.parity.figures import QUESTIONS, log_softmax
from stillery.export.parity.reference import CheckpointRuntime
from stillery.problems.buckets import Bucket, draw
from support.export_models import STUDENT, copy_of, edit_json

pytestmark = pytest.mark.skipif(not os.environ.get(VARIABLE), reason=f"${VARIABLE} names no environment")

_SESSION = """
import sys, tempfile, litert_lm
file, prompts = sys.argv[1], sys.argv[2:]
engine = litert_lm.Engine(file, backend=litert_lm.Backend.CPU(thread_count=1), cache_dir=tempfile.mkdtemp())
for prompt in prompts:
    greedy = litert_lm.SamplerConfig(top_k=1, top_p=1.0, temperature=1.0, seed=0)
    session = engine.create_session(apply_prompt_template=False, sampler_config=greedy, max_output_tokens=200)
    session.run_prefill([prompt])
    print(ascii(session.run_decode().texts[0]))
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("litert")
    LitertFormat().write(STUDENT, out, quantization="fp32", calibration=())
    return out


@pytest.fixture(scope="module")
def bundle(folder: Path) -> Iterator[LitertRuntime]:
    runtime = LitertFormat().load(folder)
    yield runtime
    runtime.close()


@pytest.fixture(scope="module")
def checkpoint() -> CheckpointRuntime:
    return CheckpointRuntime(STUDENT)


@pytest.fixture(scope="module")
def prompts(checkpoint: CheckpointRuntime) -> list[str]:
    problems = [p for task in ("equations", "last_letters") for p in draw(Bucket.TEST, task=task, count=4, seed=0)]
    return [checkpoint.render(problem.question) for problem in problems]


def test_the_bundle_is_one_file_and_opening_it_leaves_nothing_beside_it(folder: Path, bundle: LitertRuntime) -> None:
    assert bundle.tokenize("x")
    assert [path.name for path in folder.iterdir()] == [FILE]


def test_the_logits_are_the_checkpoints(
    bundle: LitertRuntime, checkpoint: CheckpointRuntime, prompts: list[str]
) -> None:
    tokens = [checkpoint.tokenize(prompt) for prompt in prompts]
    theirs = np.concatenate([log_softmax(checkpoint.logits(sequence)) for sequence in tokens])
    ours = np.concatenate([log_softmax(bundle.logits(sequence)) for sequence in tokens])
    assert (np.exp(theirs) * (theirs - ours)).sum(axis=-1).mean() < 1e-8


def test_greedy_answers_are_the_checkpoints_and_those_of_litert_lms_own_session(
    folder: Path, bundle: LitertRuntime, checkpoint: CheckpointRuntime, prompts: list[str]
) -> None:
    expected = [checkpoint.generate(checkpoint.tokenize(prompt), max_new_tokens=200) for prompt in prompts]
    assert [bundle.generate(checkpoint.tokenize(prompt), max_new_tokens=200) for prompt in prompts] == expected
    command = [litert_python(), "-I", "-c", _SESSION, str(folder / FILE), *prompts]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    texts = [checkpoint.decode(answer) for answer in expected]
    assert done.stdout.splitlines()[-len(texts) :] == [ascii(text) for text in texts]


def test_a_prompt_longer_than_one_prefill_and_one_that_fills_the_context(
    bundle: LitertRuntime, checkpoint: CheckpointRuntime
) -> None:
    long = checkpoint.tokenize("12 + 30 = 42, " * 60)[:300]
    assert bundle.generate(long, max_new_tokens=8) == checkpoint.generate(long, max_new_tokens=8)
    assert len(bundle.generate((long * 7)[:2045], max_new_tokens=8)) <= 3
    assert bundle.generate((long * 7)[:2048], max_new_tokens=8) == []


def test_tokens_and_prompts_are_the_checkpoints(bundle: LitertRuntime, checkpoint: CheckpointRuntime) -> None:
    texts = [text.text for text in build_corpus(["<|im_end|>", "<think>"])[::7] if text.kind != "decomposed"]
    assert [bundle.tokenize(text) for text in texts] == [checkpoint.tokenize(text) for text in texts]
    assert [bundle.render(q) for q in QUESTIONS] == [checkpoint.render(q) for q in QUESTIONS]


def test_a_chat_starts_with_the_token_that_its_template_writes(tmp_path: Path) -> None:
    model = copy_of(STUDENT, tmp_path / "m")
    edit_json(model / "tokenizer_config.json", lambda config: config.update(bos_token="<think>"))
    template = model / "chat_template.jinja"
    template.write_text("{{ bos_token }}" + template.read_text())
    LitertFormat().write(model, tmp_path, quantization="fp32", calibration=())
    runtime, reference = LitertFormat().load(tmp_path), CheckpointRuntime(model)
    assert runtime.render("What is 12 + 30?") == reference.render("What is 12 + 30?")
    assert runtime.render("").startswith("<think><|im_start|>")
    runtime.close()


def test_a_damaged_bundle_is_refused(folder: Path, tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes((folder / FILE).read_bytes()[:100_000])
    with pytest.raises(UserError, match="LiteRT-LM ended with exit code"):
        LitertFormat().load(tmp_path)
