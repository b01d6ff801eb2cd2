"""The parity gate for any artifact: a GGUF file from a hub, a folder that another converter wrote.

In: a checkpoint's answers, a file or folder. Out: the gate's checks.
"""

import json
from pathlib import Path

from stillery.config import ExportConfig
from stillery.errors import UserError
from stillery.export.formats import Format, format_named
from stillery.export.parity.figures import Parity, Reference, compare
from stillery.export.parity.gate import ParityCheck, judge, thresholds_for, weight_bits
from stillery.export.parity.speed import measure_speed

# The file whose name identifies a folder's format.
_MARKS = {"gguf": "*.gguf", "onnx": "genai_config.json", "executorch": "*.pte", "litert": "*.litertlm"}
# A folder of weights; the other formats may contain a file of this name too.
_WEIGHTS = "config.json"
_NUM_START_PROMPTS = 1


def open_artifact(given: Path) -> tuple[Format, Path]:
    """The format of an artifact, and the path that its runtime loads. Raises UserError for a path that holds none, or
    two."""
    if not given.exists():
        raise UserError(f"{given}: there is no such file or folder")
    folder = given if given.is_dir() else given.parent
    found = [
        (name, path) for name, mark in _MARKS.items() for path in sorted(folder.glob(mark)) if given in (folder, path)
    ]
    if not found and given == folder and (folder / _WEIGHTS).is_file():
        found = [("vllm", folder)]
    if len(found) != 1:
        names = ", ".join(path.name for _, path in found) or f"none of {', '.join(_MARKS.values())}"
        raise UserError(f"{given}: an artifact is one model file, or a folder with one; found {names}")
    [(name, path)] = found
    return format_named(name), path if name == "gguf" else folder


def quantization_of(edge_format: Format, path: Path) -> str:
    """The quantization stated by an artifact: in its manifest, or a GGUF file's header.

    Raises UserError where neither states it.
    """
    manifest = (path if path.is_dir() else path.parent) / "manifest.json"
    if manifest.is_file() and isinstance(named := json.loads(manifest.read_bytes()).get("quantization"), str):
        return named
    if edge_format.name == "gguf" and (named := _file_type(path)) is not None:
        return named
    raise UserError(f"{path}: does not say how it is quantized; give --quantization, such as int8 or Q4_K_M")


def _file_type(path: Path) -> str | None:
    from gguf import GGUFReader, LlamaFileType

    try:
        field = GGUFReader(path).get_field("general.file_type")
    except (ValueError, IndexError, KeyError) as error:
        raise UserError(f"{path}: is no whole GGUF file ({error})") from None
    names = {kind.value: kind.name.removeprefix("MOSTLY_").removeprefix("ALL_") for kind in LlamaFileType}
    return None if field is None else names.get(field.contents())


def check_artifact(
    edge_format: Format, path: Path, reference: Reference, config: ExportConfig, *, quantization: str
) -> tuple[list[ParityCheck], Parity | None]:
    """The checks of an artifact against the checkpoint's answers, and the metrics unless it doesn't run.

    Limits follow from the bits in the quantization's name; float32 has those of an unquantized form. Raises UserError
    for a name without bits.
    """
    try:
        is_unquantized = weight_bits(quantization) == 32
    except ValueError as error:
        raise UserError(f"--quantization: {error}; give one such as int8 or Q4_K_M") from None
    thresholds = thresholds_for(config, quantization, is_unquantized=is_unquantized)
    try:
        # In a process of its own first: a broken file that crashes the runtime would take this process with it.
        measure_speed(edge_format.name, path, reference.prompts[:_NUM_START_PROMPTS], max_new_tokens=8)
        runtime = edge_format.load(path)
        try:
            parity = compare(runtime, reference)
        finally:
            runtime.close()
    except UserError as error:
        return [ParityCheck("runs", 0.0, 1.0, False, str(error))], None
    return judge(parity, thresholds, min_tokenizer_agreement=config.min_tokenizer_agreement), parity
