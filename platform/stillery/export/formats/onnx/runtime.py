"""An ONNX Runtime GenAI folder in its own runtime: graph, tokenizer, chat template and generation, on one thread."""

import json
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stillery.errors import UserError

_ONE_THREAD = {"intra_op_num_threads": 1, "inter_op_num_threads": 1}


class OnnxRuntime:
    """A loaded folder. Raises UserError if the runtime refuses it."""

    def __init__(self, folder: Path) -> None:
        og: Any = import_module("onnxruntime_genai")
        try:
            config = json.loads((folder / "genai_config.json").read_text(encoding="utf-8"))
            self._context_length: int = config["model"]["context_length"]
            overlaid = og.Config(str(folder))
            overlaid.overlay(json.dumps({"model": {"decoder": {"session_options": _ONE_THREAD}}}))
            self._model: Any = og.Model(overlaid)
            self._tokenizer: Any = og.Tokenizer(self._model)
        # The runtime raises its C++ core's RuntimeError for anything that it can't read.
        except (OSError, ValueError, KeyError, RuntimeError) as error:
            raise UserError(f"{folder}: ONNX Runtime GenAI can't load it ({error}); export it again") from error

    def logits(self, tokens: Sequence[int]) -> NDArray[np.float32]:
        """Return the next-token logits after each token, from one pass over all: (len(tokens), vocabulary)."""
        generator = self._generator(tokens, max_length=len(tokens) + 1)
        return np.asarray(generator.get_output("logits"), dtype=np.float32)[0].copy()

    def generate(self, tokens: Sequence[int], *, max_new_tokens: int) -> list[int]:
        """Decode greedily; ends after an end token, after `max_new_tokens`, or where the context is full."""
        limit = min(len(tokens) + max_new_tokens, self._context_length)
        if limit <= len(tokens):
            return []
        generator = self._generator(tokens, max_length=limit)
        new: list[int] = []
        while not generator.is_done():
            generator.generate_next_token()
            # The generator's sequence omits the end token.
            new.append(int(generator.get_next_tokens()[0]))
        return new

    def tokenize(self, text: str) -> list[int]:
        """Return the tokens of a text; special tokens in it are parsed, nothing is added."""
        return [int(token) for token in self._tokenizer.encode(text)] if text else []

    def render(self, question: str) -> str:
        """Return the question as one user turn, by the runtime's own template engine."""
        messages = json.dumps([{"role": "user", "content": question}])
        return self._tokenizer.apply_chat_template(messages, add_generation_prompt=True)

    def close(self) -> None:
        """Free the session and the tokenizer."""
        del self._tokenizer, self._model

    def _generator(self, tokens: Sequence[int], *, max_length: int) -> Any:
        og: Any = import_module("onnxruntime_genai")
        parameters = og.GeneratorParams(self._model)
        parameters.set_search_options(do_sample=False, max_length=min(max_length, self._context_length))
        generator = og.Generator(self._model, parameters)
        generator.append_tokens(np.asarray(tokens, dtype=np.int32))
        return generator
