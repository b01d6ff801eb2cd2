"""`stillery init`: a commented config for the user's own teacher, student and problems, which passes every check."""

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from stillery.config import load_config
from stillery.errors import UserError
from stillery.sampling.models import EMBEDDED

_DEFAULTS = {"teacher": "embedded:teacher", "student": "embedded:student", "problems": "", "test": "", "name": "first"}
_QUESTIONS = {
    "teacher": "Teacher: a Hugging Face model, a folder, or the URL of an OpenAI-compatible server",
    "student": "Student: a Hugging Face model or a folder",
    "problems": "Training problems: a file of questions and answers (empty: generated ones)",
    "test": "Test problems, on which the student is measured: another file",
    "name": "Name of the run and of the registered model",
}


@dataclass(frozen=True, slots=True)
class _Hardware:
    """`length`: the maximum number of tokens in a sample."""

    has_gpu: bool
    length: int


def write_config(file: Path, answers: Mapping[str, str | None], *, force: bool) -> str:
    """Write the config, after asking on a terminal for anything not in `answers`; returns the next steps, as text.

    Raises UserError for an existing file, problems that cannot be read, and settings that no run could have.
    """
    if file.exists() and not force:
        raise UserError(f"{file} is there already: name another file, or give --force to write over it")
    chosen = {name: given if given is not None else _ask(name, answers) for name, given in answers.items()}
    if chosen["problems"] and not chosen["test"]:
        raise UserError("--test: name a file of problems to measure the student on; they must not be those of training")
    text = _config(chosen, _machine(chosen))
    partial = file.with_name(f".{file.name}.partial.yaml")
    partial.write_text(text, encoding="utf-8")
    try:
        load_config(str(partial), [])
        partial.replace(file)
    finally:
        partial.unlink(missing_ok=True)
    return (
        f"wrote {file}. Next:\n"
        f"  stillery plan --config {file}        memory, time and price of each stage\n"
        f"  stillery prompts --config {file}     read the problems, and check models and settings\n"
        f"  stillery run --config {file}         all of it; the same command goes on where it was stopped"
    )


def _ask(name: str, answers: Mapping[str, str | None]) -> str:
    # The second file of problems belongs to the first.
    is_moot = name == "test" and answers.get("problems") == ""
    if is_moot or not sys.stdin.isatty():
        return _DEFAULTS[name]
    default = f" [{_DEFAULTS[name]}]" if _DEFAULTS[name] else ""
    return input(f"{_QUESTIONS[name]}{default}: ").strip() or _DEFAULTS[name]


def _machine(chosen: Mapping[str, str]) -> _Hardware:
    import torch

    has_gpu = torch.cuda.is_available()
    is_embedded = chosen["teacher"].startswith(EMBEDDED)
    return _Hardware(has_gpu, 512 if is_embedded else 8192 if has_gpu else 2048)


def _config(chosen: Mapping[str, str], machine: _Hardware) -> str:
    length, context = machine.length, 2 * machine.length
    engine = f"{{max_model_len: {context}}}"
    place = "num_gpus: 1" if machine.has_gpu else f"threads: {os.cpu_count() or 1}"
    use_gpu = "\n  use_gpu: true" if machine.has_gpu else f"\n  threads: {os.cpu_count() or 1}"
    precision = "\n    bf16: true" if machine.has_gpu else ""
    is_tiny = chosen["student"].startswith(EMBEDDED)
    rate, epochs = ("4.0e-3", 9) if is_tiny else ("2.0e-5", 3)
    return f"""# Written by `stillery init`. Every key of the reference can be added here, or on the command line:
#   stillery run --config FILE teacher.samples_per_prompt=16
run:
  name: {_quoted(chosen["name"])}

{_prompts(chosen)}
{_teacher(chosen["teacher"], engine=engine, place=place, length=length)}
  # Best of at most so many samples a problem; it is done with once so many are accepted.
  samples_per_prompt: 4
  accepted_per_prompt: 1

curate:
  max_per_prompt: 1
  # Traces in two languages or going in circles teach the student to do so.
  drop_flags: [mixed_languages, repetition]

sft:
  student: {_quoted(chosen["student"])}{use_gpu}
  # LoRA instead of full fine-tuning, for a student that full fine-tuning has no room for:
  # peft: {{r: 16, lora_alpha: 32}}
  # What TRL's SFTConfig takes.
  trl:
    num_train_epochs: {epochs}
    per_device_train_batch_size: 8
    learning_rate: {rate}
    lr_scheduler_type: cosine
    max_length: {context}{precision}

evaluate:
  splits: [test]
  samples_per_prompt: 4
  ks: [1, 4]
  sampling: {{temperature: 0.7, max_tokens: {length}}}
  {place}
  engine: {engine}

register:
  name: {_quoted(chosen["name"])}
"""


def _prompts(chosen: Mapping[str, str]) -> str:
    if not chosen["problems"]:
        return """\
# Generated problems with exact answers, enough to see all stages work; the demo's student needs 2,000 to get better.
# For your own: source: file, train: FILE, test: FILE, and what `stillery prompts --inspect FILE` proposes.
prompts:
  source: tasks
  num_train: 200
  num_validation: 12
  num_test: 36
  num_longer: 6
  num_held_out: 4
"""
    section: dict[str, Any] = {"source": "file", "train": chosen["problems"], "test": chosen["test"]}
    section |= {key: value for key, value in _mapping(chosen["problems"]).items() if key not in section and value}
    lines = yaml.safe_dump({"prompts": section}, sort_keys=False, allow_unicode=True)
    return f"# As the file looks; `stillery prompts --inspect FILE` says what was seen.\n{lines}"


def _mapping(file: str) -> dict[str, Any]:
    from stillery.problems.inspection import inspect_file

    found = yaml.safe_load(inspect_file(file)) or {}
    if "prompts" not in found:
        raise UserError(f"{file}: no questions and answers were found in it; see `stillery prompts --inspect {file}`")
    return found["prompts"]


def _teacher(model: str, *, engine: str, place: str, length: int) -> str:
    if model.startswith(EMBEDDED):
        return f"""teacher:
  model: {_quoted(model)}
  sampling: {{temperature: 1.0, max_tokens: {length}}}
  {place}
  engine: {engine}"""
    asks = "# Put before each question: asks for <think> and <answer>.\n  instruction: template"
    if not model.startswith(("http://", "https://")):
        return f"""teacher:
  model: {_quoted(model)}
  {asks}
  sampling: {{temperature: 0.6, max_tokens: {length}}}
  {place}
  engine: {engine}"""
    return f"""teacher:
  kind: endpoint
  # As the server calls it.
  model: teacher
  endpoint:
    base_url: {_quoted(model)}
    # The variable that holds the key, and today's price per million tokens, by which max_cost is kept.
    api_key_env: TEACHER_API_KEY
    input_price: 0.0
    output_price: 0.0
    max_cost: 10
  {asks}
  sampling: {{max_tokens: {length}}}"""


def _quoted(text: str) -> str:
    return yaml.safe_dump(text, allow_unicode=True, width=10_000).removesuffix("\n...\n").strip()
