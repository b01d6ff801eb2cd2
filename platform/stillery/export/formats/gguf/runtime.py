"""A GGUF file in llama.cpp, by the server inside the xllamacpp wheel, on one thread and a free loopback port.

Logits are the server's log-probabilities, which are logits up to a constant at each position. The server gives them for
the next token alone, so teacher forcing takes one request per token; its cache keeps the earlier ones. It writes them
as JSON, so of a vocabulary of real size only the likeliest tokens are requested.
"""

import http.client
import json
from collections.abc import Sequence
from contextlib import closing
from importlib import import_module
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from stillery.errors import UserError

CONTEXT_TOKENS = 2048
# 100 kB of JSON per position; of a real model's next token they hold nearly all of the probability mass.
MAX_LISTED = 1024

# Below this the server writes float32's lowest number: the probability underflowed.
_LOWEST_LOG_PROBABILITY = -110.0


class GgufRuntime:
    """See `formats.Runtime`. Keys and values are cached in float32, which a comparison of logits needs."""

    def __init__(self, path: Path, *, vocabulary_size: int) -> None:
        """Load a file. Raises UserError where llama.cpp refuses it."""
        # Without type stubs, pyright sees none of the names that its extension module exports.
        llama: Any = import_module("xllamacpp")
        params = llama.CommonParams()
        params.model.path = str(path)
        params.n_ctx = CONTEXT_TOKENS
        params.n_parallel = 1
        params.cpuparams.n_threads = 1
        params.cpuparams_batch.n_threads = 1
        params.cache_type_k = llama.ggml_type.GGML_TYPE_F32
        params.cache_type_v = llama.ggml_type.GGML_TYPE_F32
        params.flash_attn_type = llama.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED
        params.port = 0
        params.verbosity = -1
        params.warmup = False
        params.use_jinja = True
        try:
            self._server: Any = llama.Server(params)
        except RuntimeError as error:
            raise UserError(f"{path}: llama.cpp doesn't load it ({error})") from None
        self._address = cast(str, self._server.listening_address).removeprefix("http://")
        self._vocabulary_size = vocabulary_size
        # The server withholds the probabilities beside a token that is part of a character, so where only the
        # probabilities are wanted this letter is always sampled: a bias changes the sampling, not the reported values.
        self._letter = self.tokenize("a")[0]

    def logits(self, tokens: Sequence[int]) -> NDArray[np.float32]:
        """Log-probabilities after each token, NaN for those beyond the MAX_LISTED likeliest.

        Raises ValueError for more tokens than the context holds.
        """
        if len(tokens) >= CONTEXT_TOKENS:
            raise ValueError(f"{len(tokens)} tokens, but the context holds {CONTEXT_TOKENS}")
        listed = min(self._vocabulary_size, MAX_LISTED)
        absent = _LOWEST_LOG_PROBABILITY if listed == self._vocabulary_size else np.nan
        rows = np.full((len(tokens), self._vocabulary_size), absent, np.float32)
        for position, row in enumerate(rows):
            answer = self._complete(
                tokens[: position + 1],
                max_new_tokens=1,
                n_probs=listed,
                logit_bias=[[self._letter, 1e4]],
                cache_prompt=True,
            )
            entries = answer["completion_probabilities"][0]["top_logprobs"]
            ids = np.fromiter((entry["id"] for entry in entries), np.int64, len(entries))
            values = np.fromiter((entry["logprob"] for entry in entries), np.float64, len(entries))
            row[ids] = np.maximum(values, _LOWEST_LOG_PROBABILITY)
        return rows

    def generate(self, tokens: Sequence[int], *, max_new_tokens: int) -> list[int]:
        """The prompt is not cached, so that the time of a call is the time of its work."""
        return self._complete(tokens, max_new_tokens=max_new_tokens, cache_prompt=False)["tokens"]

    def tokenize(self, text: str) -> list[int]:
        return self._post("/tokenize", {"content": text, "add_special": False, "parse_special": True})["tokens"]

    def render(self, question: str) -> str:
        """The text from which a chat is tokenized: the server leaves a start token out of its rendered prompt where its
        tokenizer adds one."""
        prompt: str = self._post("/apply-template", {"messages": [{"role": "user", "content": question}]})["prompt"]
        whole: list[int] = self._post("/tokenize", {"content": prompt, "add_special": True, "parse_special": True})[
            "tokens"
        ]
        added = whole[: len(whole) - len(self.tokenize(prompt))]
        return self._post("/detokenize", {"tokens": added})["content"] + prompt

    def close(self) -> None:
        """Stop the server and free the model."""
        self._server = None

    def _complete(self, tokens: Sequence[int], *, max_new_tokens: int, **options: Any) -> dict[str, Any]:
        body = {"prompt": list(tokens), "n_predict": max_new_tokens, "temperature": 0, "return_tokens": True}
        return self._post("/completion", body | options)

    def _post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        # A connection per request: the server closes one that was idle for five seconds, and grading an answer or
        # running the checkpoint in between takes longer.
        with closing(http.client.HTTPConnection(self._address, timeout=600)) as connection:
            connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
            response = connection.getresponse()
            answer = json.loads(response.read())
        if response.status != 200:
            raise RuntimeError(f"llama.cpp's server answers {response.status} to {path}: {answer}")
        return answer
