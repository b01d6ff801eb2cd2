"""ExecuTorch: one .pte program for the XNNPACK backend, laid out as the Android and iOS runners expect.

In: a checkpoint. Out: model.pte (with its KV cache and end tokens), tokenizer.json, tokenizer_config.json and
prompt.json, the chat template split in two for apps without a template engine. The program is made by ExecuTorch's own
`export_llm`. `8da4w-g32` has linear weights in 4 bits in groups of 32 (symmetric, scales fitted by HQQ), activations
dynamically quantized to 8 bits, and embedding rows in 8 bits.
"""

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from stillery.errors import UserError
from stillery.export.checkpoint import Checkpoint, open_checkpoint
from stillery.export.converter import run_converter
from stillery.export.formats.executorch.runtime import ExecutorchRuntime
from stillery.export.tokenizer_files import check_chat, write_tokenizer_files

_GROUP_SIZE = 32
_QUANTIZATIONS: dict[str, dict[str, Any]] = {
    "fp32": {},
    "8da4w-g32": {"qmode": "8da4w", "group_size": _GROUP_SIZE, "embedding_quantize": "8,0"},
}
# The KV cache of the whole context is allocated when the program is loaded, in float32.
MAX_CONTEXT_LENGTH = 2048


class ExecutorchFormat:
    name = "executorch"
    packages = ("executorch", "torchao", "pytorch_tokenizers")
    quantizations = tuple(_QUANTIZATIONS)

    def write(self, checkpoint: Path, out: Path, *, quantization: str, calibration: Sequence[str]) -> None:
        """Write the program and the files that the runners need beside it; no quantization here uses calibration texts.

        Raises UserError for a checkpoint that can't be exported, an unknown quantization, a missing package and a
        converter that fails.
        """
        if quantization not in _QUANTIZATIONS:
            raise UserError(f"executorch has no quantization {quantization!r}; it has {', '.join(self.quantizations)}")
        opened = open_checkpoint(checkpoint)
        if quantization != "fp32":
            _check_groups(opened)
        check_chat(opened)
        prompt = _prompt(opened)
        with tempfile.TemporaryDirectory(prefix="stillery-executorch-") as folder:
            scratch = Path(folder)
            config = _export_config(opened, scratch, out / "model.pte", quantization=quantization)
            (scratch / "export.yaml").write_text(json.dumps(config))
            command = ["executorch.extension.llm.export.export_llm", "--config", "export.yaml"]
            run_converter(command, scratch=scratch, for_format=self.name)
        if not (out / "model.pte").is_file():
            raise UserError(f"the executorch converter ended without an error but wrote no model.pte into {out}")
        write_tokenizer_files(opened, out)
        (out / "prompt.json").write_text(json.dumps(prompt, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")

    def load(self, folder: Path) -> ExecutorchRuntime:
        """Load the output of `write` from a folder; UserError if it is damaged or incomplete."""
        return ExecutorchRuntime(folder)

    def how_to_run(self, folder: Path) -> str:
        """Return Markdown with the commands for a computer, Android and iOS."""
        return _HOW_TO_RUN.format(folder=folder, context=MAX_CONTEXT_LENGTH)


def _export_config(checkpoint: Checkpoint, scratch: Path, program: Path, *, quantization: str) -> dict[str, Any]:
    """Write the weights and parameters into `scratch` and return export_llm's configuration."""
    import torch

    from stillery.export.formats.executorch.meta_checkpoint import meta_state_dict, model_class, transformer_params

    (scratch / "params.json").write_text(json.dumps(transformer_params(checkpoint)))
    torch.save(meta_state_dict(checkpoint), scratch / "weights.pth")
    context = min(checkpoint.config.get("max_position_embeddings", MAX_CONTEXT_LENGTH), MAX_CONTEXT_LENGTH)
    return {
        "base": {
            "model_class": model_class(checkpoint),
            "checkpoint": str(scratch / "weights.pth"),
            "params": str(scratch / "params.json"),
            "metadata": json.dumps({"get_eos_ids": list(checkpoint.end_tokens)}),
        },
        "model": {
            "use_kv_cache": True,
            "use_sdpa_with_kv_cache": True,
            "enable_dynamic_shape": True,
            "dtype_override": "fp32",
        },
        "export": {"max_seq_length": context, "max_context_length": context, "output_name": str(program.resolve())},
        "quantization": _QUANTIZATIONS[quantization],
        "backend": {"xnnpack": {"enabled": True, "extended_ops": True}},
    }


def _check_groups(checkpoint: Checkpoint) -> None:
    """Reject rows that the group size doesn't divide: the converter would silently leave those weights in float32."""
    for name, tensor in sorted(checkpoint.tensors.items()):
        if len(tensor.shape) == 2 and tensor.shape[1] % _GROUP_SIZE:
            raise UserError(
                f"{checkpoint.folder}: rows of {name} have {tensor.shape[1]} values, not a multiple of {_GROUP_SIZE}; "
                "export to executorch as fp32, or to gguf"
            )


def _prompt(checkpoint: Checkpoint) -> dict[str, str]:
    """The text before and after the question, for apps without a template engine.

    Raises UserError where the template does more to a question than put it between two texts.
    """
    from transformers import AutoTokenizer

    tokenizer: Any = AutoTokenizer.from_pretrained(checkpoint.folder, local_files_only=True)

    def render(question: str) -> str:
        messages = [{"role": "user", "content": question}]
        return tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)

    mark = "The question stands here."
    prefix, found, suffix = render(mark).partition(mark)
    probes = ("x", "Two lines:\n3 * x + 4 = 19", " spaces around ", "<think>2 < 3 & 'so'</think>")
    if not found or any(render(probe) != prefix + probe + suffix for probe in probes):
        raise UserError(
            f"{checkpoint.folder}: the chat template changes the question or repeats it, which an app without a "
            "template engine can't do; simplify chat_template.jinja, or export to onnx or gguf"
        )
    return {"prefix": prefix, "suffix": suffix}


_HOW_TO_RUN = """\
The prompt is `prompt.json`'s prefix, the question and its suffix. A prompt and its answer may have {context} tokens at
most. No beginning or end tokens are to be added.

Computer (`pip install executorch==1.5.1`):

```python
import json
from executorch.extension.llm.custom_ops import custom_ops  # registers the attention kernel
from executorch.kernels import quantized  # registers the quantized kernels
from executorch.extension.llm.runner import GenerationConfig, TextLLMRunner

layout = json.load(open("{folder}/prompt.json"))
runner = TextLLMRunner("{folder}/model.pte", "{folder}/tokenizer.json")
config = GenerationConfig(temperature=0.0, max_new_tokens=256, echo=False)
prompt = layout["prefix"] + "Solve for x: 3 * x + 4 = 19" + layout["suffix"]
runner.generate(prompt, config, lambda token: print(token, end="", flush=True))
```

Android (`implementation("org.pytorch:executorch-android:1.5.1")`):

```sh
adb shell mkdir -p /data/local/tmp/llm
adb push {folder}/. /data/local/tmp/llm/
```

```kotlin
val module = LlmModule("/data/local/tmp/llm/model.pte", "/data/local/tmp/llm/tokenizer.json", 0.0f)
module.load()
val config = LlmGenerationConfig.create().maxNewTokens(256).echo(false).build()
module.generate(prefix + question + suffix, config, callback)
```

iOS (ExecuTorch's Swift package: `executorch_llm`, `backend_xnnpack` and the optimized, quantized and LLM kernels), with
the files added to the app's bundle:

```swift
let runner = TextLLMRunner(
  modelPath: Bundle.main.path(forResource: "model", ofType: "pte")!,
  tokenizerPath: Bundle.main.path(forResource: "tokenizer", ofType: "json")!,
  specialTokens: [])
try runner.load()
let config = Config {{ $0.temperature = 0; $0.sequenceLength = {context} }}
try runner.generate(prefix + question + suffix, config) {{ token in print(token) }}
```
"""
