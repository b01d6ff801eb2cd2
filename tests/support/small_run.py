"""The smallest run through every stage with the real parts: a few problems, two samples, one epoch."""

from pathlib import Path

from stillery.config import Config, load_config

DEMO = Path(__file__).parents[2] / "jobs" / "configs" / "demo.yaml"

SMALL = (
    "prompts.num_train=24",
    "prompts.num_validation=6",
    "prompts.num_test=12",
    "prompts.num_longer=6",
    "prompts.num_held_out=2",
    "teacher.samples_per_prompt=4",
    "teacher.accepted_per_prompt=null",
    "verify.max_actors=2",
    "sft.trl.num_train_epochs=1",
    "evaluate.samples_per_prompt=2",
    "evaluate.ks=[1,2]",
    "export.formats=[gguf]",
    "export.quantizations=[Q8_0]",
    "export.num_problems=4",
)


def small_config(folder: Path, *overrides: str) -> Config:
    """The demo's config, reduced, with its run in `folder`."""
    return load_config(DEMO, [*SMALL, f"run.dir={folder}", *overrides])
