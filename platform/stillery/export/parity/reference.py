"""The reference runtime: the checkpoint in transformers, float32, with torch's default number of threads."""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stillery.errors import UserError
from stillery.export.checkpoint import Checkpoint, open_checkpoint


class CheckpointRuntime:
    """See `figures.ReferenceRuntime`."""

    def __init__(self, folder: Path) -> None:
        """Load a checkpoint. Raises UserError for one that `open_checkpoint` refuses or that has no chat template."""
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer
        from transformers.utils import logging

        logging.disable_progress_bar()
        self.checkpoint: Checkpoint = open_checkpoint(folder)
        self._tokenizer: Any = AutoTokenizer.from_pretrained(folder)
        if self._tokenizer.chat_template is None:
            raise UserError(f"{folder}: tokenizer has no chat template; save one into it (tokenizer.chat_template)")
        self._model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()

    def logits(self, tokens: Sequence[int]) -> NDArray[np.float32]:
        import torch

        with torch.inference_mode():
            return self._model(torch.tensor([list(tokens)])).logits[0].numpy()

    def generate(self, tokens: Sequence[int], *, max_new_tokens: int) -> list[int]:
        return self.generate_batch([tokens], max_new_tokens=max_new_tokens)[0]

    def generate_batch(self, prompts: Sequence[Sequence[int]], *, max_new_tokens: int) -> list[list[int]]:
        import torch
        from transformers import GenerationConfig

        ends = list(self.checkpoint.end_tokens)
        padding = ends[0] if ends else 0
        # A separate config: the checkpoint's holds sampling settings, about which greedy decoding warns.
        config = GenerationConfig(
            do_sample=False, max_new_tokens=max_new_tokens, eos_token_id=ends or None, pad_token_id=padding
        )
        longest = max(map(len, prompts))
        rows = torch.tensor([[padding] * (longest - len(prompt)) + list(prompt) for prompt in prompts])
        mask = torch.tensor([[0] * (longest - len(prompt)) + [1] * len(prompt) for prompt in prompts])
        with torch.inference_mode(), warnings.catch_warnings():
            warnings.filterwarnings("ignore", module="transformers")
            made = self._model.generate(rows, attention_mask=mask, generation_config=config)
        return [_until_end(answer, ends) for answer in made[:, longest:].tolist()]

    def tokenize(self, text: str) -> list[int]:
        return self._tokenizer(text, add_special_tokens=False)["input_ids"]

    def check_tokenizer(self, texts: Sequence[str]) -> None:
        """Raise UserError where transformers tokenizes one of the texts differently from tokenizer.json, which
        artifacts contain.

        A class named in tokenizer_config.json may replace the file's pipeline with its own.
        """
        from tokenizers import Tokenizer

        folder = self.checkpoint.folder
        file = Tokenizer.from_file(str(folder / "tokenizer.json"))
        file.no_padding()
        file.no_truncation()
        differing = [text for text in texts if file.encode(text, add_special_tokens=False).ids != self.tokenize(text)]
        if differing:
            raise UserError(
                f"{folder}: transformers reads the tokenizer as {type(self._tokenizer).__name__}, which cuts "
                f"{len(differing)} of {len(texts)} texts otherwise than tokenizer.json, such as {differing[0]!a}; set "
                "tokenizer_class to PreTrainedTokenizerFast in tokenizer_config.json, or, for a model that was trained "
                "with that class, save the tokenizer again with transformers"
            )

    def render(self, question: str) -> str:
        messages = [{"role": "user", "content": question}]
        return self._tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)

    def decode(self, tokens: Sequence[int]) -> str:
        """The text of a completion, without special tokens."""
        return self._tokenizer.decode(list(tokens), skip_special_tokens=True)

    def close(self) -> None:
        self._model = None


def _until_end(answer: list[int], ends: Sequence[int]) -> list[int]:
    """An answer up to its end token, without the padding to the longest of its batch."""
    return answer[: next((at + 1 for at, token in enumerate(answer) if token in ends), len(answer))]
