"""vLLM: a checkpoint folder with quantized weights, for servers.

In: a checkpoint. Out: the same folder with its weights in the format of compressed-tensors, which vLLM and transformers
load directly:

- `int8-w8a8`: weights in 8 bits, a scale a row; activations quantized to 8 bits as they come, a scale a token.
- `int4-w4a16`: weights in 4 bits, a scale for 32 along a row; offered where this machine's vLLM has a kernel for them,
  on a GPU or on a CPU with AVX-512.

Both are rounded to nearest; embedding and output projection are unchanged. `fp32` is the checkpoint itself, which shows
the gate vLLM's own share of a difference.
"""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

from stillery.errors import UserError
from stillery.export.checkpoint import open_checkpoint
from stillery.export.formats.vllm.runtime import VllmRuntime
from stillery.export.formats.vllm.weights import INT4, INT8, quantization_config, write_weights
from stillery.export.tokenizer_files import check_chat

_COPIED = (".json", ".jinja", ".model", ".txt")
_MADE = ("fp32", INT8, INT4)
_LEFT_OUT = ("model.safetensors.index.json", "manifest.json")


class VllmFormat:
    """See `formats.Format`."""

    name = "vllm"
    packages = ("vllm", "compressed_tensors")

    @property
    def quantizations(self) -> tuple[str, ...]:
        return _MADE if _four_bits_run() else _MADE[:-1]

    def write(self, checkpoint: Path, out: Path, *, quantization: str, calibration: Sequence[str]) -> None:
        """Write the folder; no quantization here uses calibration texts.

        Raises UserError for a checkpoint that can't be exported and an unknown quantization.
        """
        if quantization not in _MADE:
            raise UserError(f"vllm has no quantization {quantization!r}; it has {', '.join(_MADE)}")
        opened = open_checkpoint(checkpoint)
        check_chat(opened)
        for path in sorted(checkpoint.iterdir()):
            if path.suffix in _COPIED and path.name not in _LEFT_OUT:
                shutil.copy(path, out)
        if quantization == "fp32":
            for path in sorted(checkpoint.glob("*.safetensors*")):
                shutil.copy(path, out)
            return
        config = dict(opened.config) | {"quantization_config": quantization_config(opened, quantization)}
        (out / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
        write_weights(opened, out, quantization=quantization)

    def load(self, folder: Path) -> VllmRuntime:
        """Load the output of `write` from a folder; UserError if it is damaged or incomplete."""
        try:
            config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
            size, context = int(config["vocab_size"]), int(config["max_position_embeddings"])
        except (OSError, ValueError, KeyError, TypeError):
            raise UserError(f"{folder}: has no config.json of a model; export it again") from None
        return VllmRuntime(folder, vocabulary_size=size, context=context)

    def how_to_run(self, folder: Path) -> str:
        """Return Markdown with the command of a server."""
        return _HOW_TO_RUN.format(folder=folder)


def _four_bits_run() -> bool:
    import torch
    from vllm.platforms import current_platform

    if not current_platform.is_cpu():
        return True
    current_platform.import_kernels()
    return hasattr(torch.ops._C, "cpu_gemm_wna16")


_HOW_TO_RUN = """\
An OpenAI-compatible server, on a CPU or a GPU (the gate ran it on a CPU):

```sh
vllm serve {folder} --served-model-name student
```

or, with keys, limits and the reasoning split out, `stillery serve {folder}`.
"""
