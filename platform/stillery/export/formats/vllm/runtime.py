"""A folder of weights in vLLM itself, in this process, on one thread of the CPU.

Logits are vLLM's log-probabilities, which are logits up to a constant at each position; of a large vocabulary only the
likeliest tokens are requested.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stillery.config import EngineConfig
from stillery.errors import UserError
from stillery.sampling.backends.vllm import load_engine

MAX_LISTED = 1024
_MOST_TOKENS = 2048


class VllmRuntime:
    """See `formats.Runtime`."""

    def __init__(self, folder: Path, *, vocabulary_size: int, context: int) -> None:
        """Load a folder. Raises UserError where vLLM refuses it."""
        self._vocabulary_size, self._context = vocabulary_size, min(context, _MOST_TOKENS)
        engine = {"max_logprobs": -1, "max_model_len": self._context, "enable_prefix_caching": False}
        try:
            self._llm: Any = load_engine(str(folder), EngineConfig(engine=engine, threads=1, cpu_kv_cache_gb=1))
        except Exception as error:
            # Boundary: vLLM raises all errors of its layers and kernels.
            raise UserError(f"{folder}: vLLM doesn't load it ({str(error).splitlines()[0]})") from error
        self._tokenizer: Any = self._llm.get_tokenizer()

    def logits(self, tokens: Sequence[int]) -> NDArray[np.float32]:
        """Log-probabilities after each token, NaN for those beyond the MAX_LISTED likeliest."""
        listed = min(self._vocabulary_size, MAX_LISTED)
        made = self._generate(tokens, max_tokens=1, prompt_logprobs=listed, logprobs=listed)
        rows = np.full((len(tokens), self._vocabulary_size), np.nan, np.float32)
        # The first token of a prompt has no logits before it, and those of the generated token follow the last.
        told = [*made.prompt_logprobs[1:], made.outputs[0].logprobs[0]]
        for row, entries in zip(rows, told, strict=True):
            for token, entry in entries.items():
                row[token] = entry.logprob
        return rows

    def generate(self, tokens: Sequence[int], *, max_new_tokens: int) -> list[int]:
        limit = min(max_new_tokens, self._context - len(tokens))
        return list(self._generate(tokens, max_tokens=limit).outputs[0].token_ids) if limit > 0 else []

    def tokenize(self, text: str) -> list[int]:
        return self._tokenizer(text, add_special_tokens=False)["input_ids"]

    def render(self, question: str) -> str:
        messages = [{"role": "user", "content": question}]
        return self._tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)

    def close(self) -> None:
        self._llm.llm_engine.engine_core.shutdown()
        del self._llm

    def _generate(self, tokens: Sequence[int], **settings: Any) -> Any:
        from vllm import SamplingParams
        from vllm.inputs import TokensPrompt

        prompt = TokensPrompt(prompt_token_ids=list(tokens))
        params = SamplingParams(temperature=0.0, **settings)
        return self._llm.generate([prompt], params, use_tqdm=False)[0]
