"""An ExecuTorch program in its own runtime, with the C++ tokenizer that phones use, on one thread."""

import json
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stillery.errors import UserError


class ExecutorchRuntime:
    """A loaded folder. Raises UserError if the runtime refuses the program or the tokenizer."""

    def __init__(self, folder: Path) -> None:
        from executorch.runtime import Runtime
        from pytorch_tokenizers import pytorch_tokenizers_cpp

        # These register kernels that the program calls.
        import_module("executorch.extension.llm.custom_ops.custom_ops")
        import_module("executorch.kernels.quantized")
        library: Any = import_module("executorch.extension.pybindings.portable_lib")
        library._unsafe_reset_threadpool(1)  # the only way to set the number of threads
        try:
            layout = json.loads((folder / "prompt.json").read_text(encoding="utf-8"))
            self._prefix, self._suffix = str(layout["prefix"]), str(layout["suffix"])
            self._tokenizer: Any = pytorch_tokenizers_cpp.HFTokenizer()
            self._tokenizer.load(str(folder))
            self._program: Any = Runtime.get().load_program(folder / "model.pte")
            self._forward: Any = self._program.load_method("forward")
            (self._context_length,) = self._constants("get_max_context_len")
            self._end_tokens = frozenset(self._constants("get_eos_ids"))
        # The runtime raises its C++ core's RuntimeError for anything that it can't read.
        except (OSError, ValueError, KeyError, RuntimeError) as error:
            raise UserError(f"{folder}: ExecuTorch can't load it ({error}); export it again") from error

    def logits(self, tokens: Sequence[int]) -> NDArray[np.float32]:
        """Return the next-token logits after each token: (len(tokens), vocabulary).

        The program returns those of the last token of a call, so the tokens go in one by one, as in decoding.
        """
        return np.stack([self._step([token], position) for position, token in enumerate(tokens)])

    def generate(self, tokens: Sequence[int], *, max_new_tokens: int) -> list[int]:
        """Decode greedily after one pass over the prompt; ends after an end token, or where the context is full."""
        new: list[int] = []
        limit = min(max_new_tokens, self._context_length - len(tokens))
        if limit <= 0:
            return new
        logits = self._step(tokens, 0)
        while True:
            new.append(int(logits.argmax()))
            if len(new) >= limit or new[-1] in self._end_tokens:
                return new
            logits = self._step(new[-1:], len(tokens) + len(new) - 1)

    def tokenize(self, text: str) -> list[int]:
        """Return the tokens of a text; special tokens in it are parsed, nothing is added."""
        return [int(token) for token in self._tokenizer.encode(text, 0, 0)] if text else []

    def render(self, question: str) -> str:
        """Return the question between the two texts of prompt.json, as an app assembles it."""
        return self._prefix + question + self._suffix

    def close(self) -> None:
        """Free the program and its KV cache."""
        del self._forward, self._program, self._tokenizer

    def _step(self, tokens: Sequence[int], position: int) -> NDArray[np.float32]:
        """Feed tokens at a position of the KV cache and return the logits after the last."""
        import torch

        inputs = (torch.tensor([list(tokens)], dtype=torch.long), torch.tensor([position], dtype=torch.long))
        (logits,) = self._forward.execute(inputs)
        return logits.reshape(-1, logits.shape[-1])[-1].float().numpy().copy()

    def _constants(self, method: str) -> list[int]:
        """The numbers returned by a method without inputs: metadata that the exporter wrote into the program."""
        return [int(value) for value in self._program.load_method(method).execute([])]
