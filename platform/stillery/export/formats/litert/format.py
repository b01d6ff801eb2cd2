"""LiteRT-LM: one .litertlm bundle with the graph, the tokenizer, the chat template and the stop tokens.

In: a checkpoint. Out: model.litertlm, which LiteRT-LM's Android, iOS, desktop and Python runtimes load. It is made by
litert-torch, in an environment of its own (`litert_runtime`). `int8` and `int4` have one scale for each row of a weight
(symmetric, from its largest value), and activations dynamically quantized to 8 bits.
"""

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path

from stillery.errors import UserError
from stillery.export.checkpoint import open_checkpoint
from stillery.export.converter import run_converter
from stillery.export.formats.litert.runtime import WORKER, LitertRuntime, litert_python
from stillery.export.tokenizer_files import check_chat, read_chat_template, stage_checkpoint

FILE = "model.litertlm"
# The KV cache of the whole context is allocated in float32.
MAX_CONTEXT_LENGTH = 2048

# Recipes of ai-edge-quantizer.
_RECIPES = {"fp32": "", "int8": "dynamic_wi8_afp32", "int4": "dynamic_wi4_afp32"}


class LitertFormat:
    name = "litert"
    packages = ()
    quantizations = tuple(_RECIPES)

    def __init__(self) -> None:
        """Raises UserError where LiteRT's environment isn't set."""
        litert_python()

    def write(self, checkpoint: Path, out: Path, *, quantization: str, calibration: Sequence[str]) -> None:
        """Write the bundle; no quantization here uses calibration texts.

        Raises UserError for a checkpoint that can't be exported, an unknown quantization and a converter that fails.
        """
        if quantization not in _RECIPES:
            raise UserError(f"litert has no quantization {quantization!r}; it has {', '.join(self.quantizations)}")
        opened = open_checkpoint(checkpoint)
        check_chat(opened)
        context = min(opened.config.get("max_position_embeddings", MAX_CONTEXT_LENGTH), MAX_CONTEXT_LENGTH)
        with tempfile.TemporaryDirectory(prefix="stillery-litert-") as folder:
            scratch = Path(folder)
            source = stage_checkpoint(opened, scratch / "checkpoint")
            _write_template(source)
            arguments = ["convert", str(source), str(out.resolve()), _RECIPES[quantization], str(context)]
            interpreter = (litert_python(), "-I")
            run_converter([str(WORKER), *arguments], scratch=scratch, for_format=self.name, interpreter=interpreter)
        if not (out / FILE).is_file():
            raise UserError(f"the litert converter ended without an error but wrote no {FILE} into {out}")

    def load(self, folder: Path) -> LitertRuntime:
        """Load the output of `write` from a folder; UserError if it is damaged or incomplete."""
        if not (folder / FILE).is_file():
            raise UserError(f"{folder}: has no {FILE}; export the model again")
        return LitertRuntime(folder / FILE)

    def how_to_run(self, folder: Path) -> str:
        """Return Markdown with the commands for a computer, Android and iOS."""
        return _HOW_TO_RUN.format(file=folder / FILE, name=FILE, context=MAX_CONTEXT_LENGTH)


def _write_template(folder: Path) -> None:
    """Prepend code to the chat template that joins LiteRT-LM's text parts into the single text that the template
    expects."""
    config = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
    template = read_chat_template(folder, config) or ""
    # transformers drops a line break at the template's end; LiteRT-LM renders it.
    (folder / "chat_template.jinja").write_text(_JOIN_PARTS + template.removesuffix("\n"), encoding="utf-8")


_JOIN_PARTS = """\
{%- set chat = namespace(messages=[]) -%}
{%- for message in messages -%}
{%- set joined = namespace(text='') -%}
{%- if message.content is string -%}
{%- set joined.text = message.content -%}
{%- else -%}
{%- for part in message.content -%}{%- set joined.text = joined.text + part.text -%}{%- endfor -%}
{%- endif -%}
{%- set chat.messages = chat.messages + [dict(message, content=joined.text)] -%}
{%- endfor -%}
{%- set messages = chat.messages -%}
"""

_HOW_TO_RUN = """\
A prompt and its answer may have {context} tokens at most. Python (`pip install litert-lm-api==0.18.1`):

```python
import litert_lm

with litert_lm.Engine("{file}", backend=litert_lm.Backend.CPU()) as engine:
    greedy = litert_lm.SamplerConfig(top_k=1)
    with engine.create_conversation(sampler_config=greedy) as conversation:
        print(conversation.send_message("Solve for x: 3 * x + 4 = 19"))
```

Android (`implementation("com.google.ai.edge.litertlm:litertlm-android")`):

```sh
adb shell mkdir -p /data/local/tmp/llm
adb push {file} /data/local/tmp/llm/
```

```kotlin
val engine = Engine(EngineConfig(modelPath = "/data/local/tmp/llm/{name}", backend = Backend.CPU()))
engine.initialize()
engine.createConversation().use {{ println(it.sendMessage("Solve for x: 3 * x + 4 = 19")) }}
```

iOS (the library `LiteRTLM` of the Swift package https://github.com/google-ai-edge/LiteRT-LM), with the file added to
the app's bundle:

```swift
let path = Bundle.main.path(forResource: "model", ofType: "litertlm")!
let engine = Engine(engineConfig: try EngineConfig(modelPath: path, backend: .cpu(), cacheDir: NSTemporaryDirectory()))
try await engine.initialize()
let conversation = try await engine.createConversation()
print(try await conversation.sendMessage(Message("Solve for x: 3 * x + 4 = 19")).toString)
```
"""
