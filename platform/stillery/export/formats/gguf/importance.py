"""llama.cpp's importance matrix: how much calibration texts use each input column, to guide quantization.

In: a checkpoint and texts. Out: the mean square of each linear layer's inputs, which is llama.cpp's importance matrix.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray


def measure_importance(checkpoint: Path, texts: Sequence[str]) -> dict[str, NDArray[np.float32]]:
    """Mean squares by the name of the weight, (columns,) each. A tied output counts under the embedding's name.

    Loads the whole model in float32, unlike the writer. Raises ValueError for texts without a token.
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer: Any = AutoTokenizer.from_pretrained(checkpoint)
    model: Any = AutoModelForCausalLM.from_pretrained(checkpoint, dtype=torch.float32).eval()
    sums: dict[str, torch.Tensor] = {}

    def record(name: str) -> Callable[[Any, tuple[torch.Tensor, ...]], None]:
        def hook(_: Any, inputs: tuple[torch.Tensor, ...]) -> None:
            squares = inputs[0].double().square().flatten(0, -2).sum(0)
            sums[name] = sums.get(name, torch.zeros_like(squares)) + squares

        return hook

    for name, module in model.named_modules():
        if isinstance(module, torch.nn.Linear):
            tied = name == "lm_head" and model.config.tie_word_embeddings
            module.register_forward_pre_hook(record("model.embed_tokens.weight" if tied else f"{name}.weight"))
    num_tokens = 0
    with torch.inference_mode():
        for text in texts:
            tokens = tokenizer(text, add_special_tokens=False, return_tensors="pt")["input_ids"]
            if tokens.shape[1]:
                model(tokens)
                num_tokens += tokens.shape[1]
    if num_tokens == 0:
        raise ValueError("calibration texts hold no token")
    return {name: (total / num_tokens).float().numpy() for name, total in sums.items()}
