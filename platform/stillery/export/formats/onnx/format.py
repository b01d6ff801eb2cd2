"""ONNX Runtime GenAI: a decoder graph for the CPU, with the configuration and tokenizer that its runtime reads.

In: a checkpoint. Out: a folder that `onnxruntime_genai.Model` loads on servers, Android and iOS. The graph is made by
onnxruntime-genai's own model builder. Only weights are quantized, in blocks of 32 along a row:

- `int8` and `int4-rtn`: symmetric, rounded to nearest.
- `int4-k-quant-mixed`: scales and zero points fitted as llama.cpp's K-quants are; the output projection and the
  sensitive layers (first and last eighth, every third between) in 8 bits.
"""

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path

from stillery.errors import UserError
from stillery.export.checkpoint import Checkpoint, open_checkpoint
from stillery.export.converter import run_converter
from stillery.export.formats.onnx.runtime import OnnxRuntime
from stillery.export.tokenizer_files import check_chat, stage_checkpoint, write_tokenizer_files

# The options' old names (int4_algo_config, int4_block_size) are silently ignored.
_BUILDER_OPTIONS = {
    "fp32": ("fp32", ()),
    "int8": ("int8", ("algo_config=default", "block_size=32", "is_symmetric=true")),
    "int4-k-quant-mixed": ("int4", ("algo_config=k_quant_mixed", "block_size=32")),
    "int4-rtn": ("int4", ("algo_config=default", "block_size=32", "is_symmetric=true")),
}


class OnnxFormat:
    name = "onnx"
    packages = ("onnxruntime_genai", "onnx", "onnx_ir")
    quantizations = tuple(_BUILDER_OPTIONS)

    def write(self, checkpoint: Path, out: Path, *, quantization: str, calibration: Sequence[str]) -> None:
        """Write model.onnx, genai_config.json and the tokenizer; no quantization here uses calibration texts.

        Raises UserError for a checkpoint that can't be exported, an unknown quantization, a missing package and a
        converter that fails.
        """
        if quantization not in _BUILDER_OPTIONS:
            known = ", ".join(self.quantizations)
            raise UserError(f"onnx has no quantization {quantization!r}; it has {known}")
        opened = open_checkpoint(checkpoint)
        check_chat(opened)
        precision, options = _BUILDER_OPTIONS[quantization]
        with tempfile.TemporaryDirectory(prefix="stillery-onnx-") as folder:
            scratch = Path(folder)
            source = stage_checkpoint(opened, scratch / "checkpoint")
            arguments = ["onnxruntime_genai.models.builder", "-i", str(source), "-o", str(out.resolve())]
            arguments += ["-p", precision, "-e", "cpu", "-c", str(scratch / "cache")]
            if options:
                arguments += ["--extra_options", *options]
            run_converter(arguments, scratch=scratch, for_format=self.name)
        if not (out / "model.onnx").is_file():
            raise UserError(f"the onnx converter ended without an error but wrote no model.onnx into {out}")
        # The builder saves the tokenizer again, through transformers; the staged one is shipped.
        write_tokenizer_files(opened, out)
        _correct_token_ids(opened, out / "genai_config.json")

    def load(self, folder: Path) -> OnnxRuntime:
        """Load the output of `write` from a folder; UserError if it is damaged or incomplete."""
        return OnnxRuntime(folder)

    def how_to_run(self, folder: Path) -> str:
        """Return Markdown with the commands for a computer, Android and iOS."""
        return _HOW_TO_RUN.format(folder=folder)


def _correct_token_ids(checkpoint: Checkpoint, path: Path) -> None:
    """Put the checkpoint's own end and beginning tokens into the runtime's configuration.

    The builder adds the tokenizer's end token to those that end a generation, and 1 as a beginning token where there is
    none.
    """
    config = json.loads(path.read_text(encoding="utf-8"))
    config["model"]["eos_token_id"] = list(checkpoint.end_tokens)
    config["model"].pop("bos_token_id", None)
    if (beginning := checkpoint.config.get("bos_token_id")) is not None:
        config["model"]["bos_token_id"] = beginning
    path.write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")


_HOW_TO_RUN = """\
Python (`pip install onnxruntime-genai==0.18.0`), on the CPU:

```python
import json
import onnxruntime_genai as og

model = og.Model("{folder}")
tokenizer = og.Tokenizer(model)
messages = json.dumps([{{"role": "user", "content": "Solve for x: 3 * x + 4 = 19"}}])
prompt = tokenizer.apply_chat_template(messages, add_generation_prompt=True)
parameters = og.GeneratorParams(model)
parameters.set_search_options(do_sample=False, max_length=1024)
generator = og.Generator(model, parameters)
generator.append_tokens(tokenizer.encode(prompt))
while not generator.is_done():
    generator.generate_next_token()
print(tokenizer.decode(generator.get_sequence(0)))
```

Android: add the `onnxruntime-android` and `onnxruntime-genai-android` AARs to the app, and copy the folder over:

```sh
adb push {folder}/. /data/local/tmp/llm/
```

```java
SimpleGenAI genai = new SimpleGenAI("/data/local/tmp/llm");
GeneratorParams parameters = genai.createGeneratorParams();
parameters.setSearchOption("do_sample", false);
parameters.setSearchOption("max_length", 1024);
String answer = genai.generate(parameters, prompt, token -> System.out.print(token));
```

iOS: add the `onnxruntime-genai` framework to the app, and the folder as a folder reference `llm`. In Objective-C++:

```cpp
auto model = OgaModel::Create([[NSBundle.mainBundle pathForResource:@"llm" ofType:nil] UTF8String]);
auto tokenizer = OgaTokenizer::Create(*model);
```
"""
