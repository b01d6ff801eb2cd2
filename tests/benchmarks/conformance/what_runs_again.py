#!/usr/bin/env python3
"""The stages that a change reruns, by their settings and dependencies. Runs nothing.

    python tests/benchmarks/conformance/what_runs_again.py

Changes that affect no output should reach no stage; other changes should reach the stages whose outputs they affect.
The models are folders of a few files with 200 MiB of weights, in which one byte in the middle is changed. Prints one
table.
"""

import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).parents[3]
sys.path[:0] = [str(ROOT / "platform"), str(ROOT / "tests")]

from stillery.config import Config, load_config  # noqa: E402
from stillery.pipeline.order import STAGES  # noqa: E402

MIB = 1 << 20


def make_model(folder: Path) -> Path:
    folder.mkdir()
    (folder / "config.json").write_text('{"model_type": "qwen3", "architectures": ["Qwen3ForCausalLM"]}')
    (folder / "tokenizer.model").write_bytes(b"pieces")
    with (folder / "model.safetensors").open("wb") as file:
        file.truncate(200 * MIB)
    return folder


def change_middle(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(100 * MIB)
        file.write(b"x")


def main() -> None:
    folder = Path(tempfile.mkdtemp(prefix="stillery-trial-"))
    os.environ["STILLERY_HOME"] = str(folder / "home")
    teacher, student = make_model(folder / "teacher"), make_model(folder / "student")
    template = folder / "chat.jinja"
    template.write_text("{{ messages }}")
    (folder / "generation").mkdir()
    generation = folder / "generation" / "generation_config.json"
    generation.write_text('{"eos_token_id": 1}')
    base = (
        f"teacher.model={teacher}",
        f"sft.student={student}",
        f"sft.trl.chat_template_path={template}",
        f"teacher.engine.generation_config={generation.parent}",
    )

    def config(*overrides: str) -> Config:
        return load_config(None, [*base, *overrides])

    def settings(*overrides: str) -> dict[str, object]:
        return {stage.name: stage.settings(config(*overrides)) for stage in STAGES}

    def setting(override: str) -> Callable[[], dict[str, object]]:
        return lambda: settings(override)

    def writing(write: Callable[[], object]) -> Callable[[], dict[str, object]]:
        def changed() -> dict[str, object]:
            write()
            return settings()

        return changed

    changes = {
        name: setting(name)
        for name in (
            "teacher.engine.tensor_parallel_size=2", "teacher.engine.gpu_memory_utilization=0.5",
            "evaluate.engine.enforce_eager=true", "sft.trl.logging_steps=1", "sft.trl.dataloader_num_workers=2",
            "teacher.engine.override_generation_config={eos_token_id: 7}", "sft.trl.learning_rate=1e-3",
        )
    } | {
        "a byte amid the teacher's weights": writing(lambda: change_middle(teacher / "model.safetensors")),
        "the teacher's tokenizer.model": writing(lambda: (teacher / "tokenizer.model").write_bytes(b"others")),
        "what sft.trl.chat_template_path holds": writing(lambda: template.write_text("{{ other }}")),
        "what teacher.engine.generation_config holds": writing(lambda: generation.write_text('{"eos_token_id": 2}')),
        "the student's README.md": writing(lambda: (student / "README.md").write_text("prose")),
    }  # fmt: skip
    print(f"{'change':<62}stages of their own that run again")
    for name, make in changes.items():
        before = settings()
        after = make()
        reached = [stage for stage in before if before[stage] != after[stage]]
        print(f"{name:<62}{', '.join(reached) or 'none'}")


if __name__ == "__main__":
    main()
