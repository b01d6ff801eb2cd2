"""A checkpoint has the state of every rank: killed training resumes with the same losses, to the last digit.

NEFTune's noise is drawn on each rank, so the losses depend on the random state of all of them.
"""

import datetime
import json
import os
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

from stillery.config import AttentionConfig, SftConfig
from stillery.io.storage import Folder
from stillery.records import Message, Prompt, Sample, digest
from stillery.sampling.adapters import ADAPTER_WEIGHTS
from stillery.sampling.chat.conversation import student_format
from stillery.stages.sft import fine_tune
from stillery.training.attention.files import calibrate, write_targets
from stillery.training.checkpoints import RAY_TRAIN, publish_adapted, publish_checkpoint
from stillery.training.data import prepare_data
from stillery.training.loop import train_loop
from support.ray_workers import kill_worker

pytestmark = pytest.mark.usefixtures("ray_cluster")

TRL: dict[str, Any] = {
    "max_steps": 8, "save_strategy": "steps", "save_steps": 3, "logging_steps": 1, "per_device_train_batch_size": 4,
    "learning_rate": 1e-3, "neftune_noise_alpha": 5.0,
}  # fmt: skip
# FSDP2 as on GPUs, but for `cpu_fsdp_loop`: each rank keeps its shards of the model and of the optimizer's state.
SHARDED: dict[str, Any] = TRL | {
    "fsdp": True,
    "fsdp_config": {
        "version": 2,
        "transformer_layer_cls_to_wrap": ["Qwen3DecoderLayer"],
        "state_dict_type": "SHARDED_STATE_DICT",
    },
}

# Adapters are saved whole.
SHARDED_WHOLE: dict[str, Any] = SHARDED | {
    "fsdp_config": SHARDED["fsdp_config"] | {"state_dict_type": "FULL_STATE_DICT"}
}


def cpu_fsdp_loop(config: dict[str, Any]) -> list[dict[str, Any]]:
    """The train loop on CPUs with FSDP, which Accelerate takes for DDP there unless it is told of several GPUs."""
    import trl
    from accelerate import PartialState
    from accelerate.utils import DistributedType

    plain = trl.SFTConfig.__post_init__

    def told_of_several(self: trl.SFTConfig) -> None:
        plain(self)
        assert self.distributed_state is not None
        PartialState._shared_state["distributed_type"] = DistributedType.MULTI_GPU

    # Not a class of its own, which a checkpoint could not pickle.
    trl.SFTConfig.__post_init__ = told_of_several
    return train_loop(config)


def train(
    out: Folder,
    samples: Folder,
    table: dict[str, Any],
    *,
    kill: bool,
    peft: dict[str, Any] | None = None,
    attending: bool = False,
) -> list[float]:
    """Train with two workers, killing one once a checkpoint is stored; with `attending` drawn to the bonds.
    Returns the losses, step by step."""
    from ray.train import FailureConfig, RunConfig, ScalingConfig
    from ray.train.torch import TorchTrainer

    config = SftConfig(trl=table)
    targets = write_bonds(samples, out / "targets") if attending else None
    counts = prepare_data(config, student_format(config), samples=samples, data=out / "data", targets=targets)
    transfer = (
        {"weight": 0.5, "anneal_until": 2 / 3, "layer": 2, "scale": counts["attention"]["scale"]} if targets else None
    )
    # As the stage has it: workers of a crowded machine start slowly.
    os.environ.setdefault("RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S", "300")
    killer = threading.Thread(target=kill_a_worker, args=(out.local / "ray_train",), daemon=True)
    if kill:
        killer.start()
    result = TorchTrainer(
        cpu_fsdp_loop if "fsdp" in table else train_loop,
        train_loop_config={
            "student": "embedded:student", "out": out.uri, "scratch": str(out.local / "scratch"),
            "has_validation": False, "seed": 0, "use_gpu": False, "threads": 1, "trl": table, "where": {},
            "observed": {}, "num_workers": 2, "peft": peft, "quantize": None,
            "mean_weight": counts.get("mean_weight"), "attention": transfer, "distill": None, "accuracy": None,
            "early_stopping": None,
        },
        scaling_config=ScalingConfig(num_workers=2, resources_per_worker={"CPU": 1}),
        run_config=RunConfig(
            name="ray_train", storage_path=str(out.local), failure_config=FailureConfig(max_failures=2)
        ),
    ).fit()  # fmt: skip
    assert not kill or not killer.is_alive(), "no worker was killed"
    assert not list((out.local / "scratch").iterdir()), "scratch is left behind"
    (out.local / "last").write_text(str(result.checkpoint.path))
    return [row["loss"] for row in result.return_value if "loss" in row]


def write_bonds(samples: Folder, out: Folder) -> Folder:
    config = AttentionConfig(target="bonds")
    calibration = calibrate(config, teacher=None, samples=samples, generations=samples)
    given: dict[str, Any] = {"config": config, "calibration": calibration, "samples": samples, "generations": samples}
    for name in samples.names(".parquet"):
        write_targets(name, teacher=None, out=out, **given)
    return out


def kill_a_worker(stored: Path) -> None:
    while not has_checkpoint(stored / "checkpoint_manager_snapshot.json"):
        time.sleep(0.02)
    while not kill_worker("RayTrainWorker"):
        time.sleep(0.02)


def has_checkpoint(snapshot: Path) -> bool:
    try:
        return json.loads(snapshot.read_text())["latest_checkpoint_result"] is not None
    except (OSError, ValueError):
        # Not there yet, or being written.
        return False


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    folder = Folder(str(tmp_path_factory.mktemp("samples")))
    rows = [
        Sample(
            digest(i), f"p{i}", "t", "train" if i <= 96 else "validation",
            [Message("user", f"Solve for x: x + 1 = {i}")],
            [Message("assistant", f"<think>\nx = {i} - 1 = {i - 1}\n</think>\n<answer>{i - 1}</answer>")], [], "r", "T",
        )
        for i in range(1, 101)
    ]  # fmt: skip
    folder.write_rows("samples-00000.parquet", rows, Sample)
    return folder


def test_a_killed_worker_changes_no_loss_of_the_stage(tmp_path: Path, samples: Folder) -> None:
    """Validated by accuracy, too, with early stopping."""
    table = TRL | {"metric_for_best_model": "accuracy"}
    config = SftConfig(trl=table, num_workers=2, threads=1, early_stopping_patience=3)
    config.accuracy.num_problems, config.accuracy.max_tokens = 3, 32
    whole, killed = Folder(str(tmp_path / "whole")), Folder(str(tmp_path / "killed"))
    prompts = Folder(str(tmp_path / "prompts"))
    rows = [
        Prompt(f"p{i}", "t", f"Solve for x: x + 1 = {i}", str(i - 1), "number", [], "t", "validation", 1, None)
        for i in range(97, 101)
    ]
    prompts.write_rows("prompts.parquet", rows, Prompt)
    given: dict[str, Any] = {"now": datetime.datetime.now(), "samples": samples, "prompts": prompts}
    first = fine_tune(config, seed=0, out=whole, **given)
    killer = threading.Thread(target=kill_a_worker, args=(killed.local / RAY_TRAIN,), daemon=True)
    killer.start()
    second = fine_tune(config, seed=0, out=killed, **given)
    assert not killer.is_alive(), "no worker was killed"
    steps, losses = _history(whole)
    assert steps == list(range(1, 9))
    assert _history(killed) == (steps, losses), "steps were trained twice, or otherwise"
    assert second["last_loss"] == first["last_loss"] < first["first_loss"]
    validated = {row["step"]: row["eval_accuracy"] for row in _rows(whole) if "eval_accuracy" in row}
    assert list(validated) == [3, 6, 8]
    assert validated == {row["step"]: row["eval_accuracy"] for row in _rows(killed) if "eval_accuracy" in row}
    assert validated[second["kept_step"]] == second["best_eval_accuracy"] == first["best_eval_accuracy"]
    for checkpoint in (killed.local / RAY_TRAIN).glob("checkpoint_2*"):
        assert {"rng_state_0.pth", "rng_state_1.pth"} <= {path.name for path in checkpoint.iterdir()}
    assert is_trained(killed.local / "checkpoint"), "the published model is the one that training began with"


def test_a_killed_worker_changes_no_loss_of_shards(tmp_path: Path, samples: Folder) -> None:
    whole = train(Folder(str(tmp_path / "whole")), samples, SHARDED, kill=False)
    killed = train(Folder(str(tmp_path / "killed")), samples, SHARDED, kill=True)
    assert len(whole) == 8
    assert killed == whole
    last = Path((tmp_path / "killed" / "last").read_text())
    assert {"rng_state_0.pth", "rng_state_1.pth"} <= {path.name for path in last.iterdir()}
    assert {path.name for path in (last / "optimizer_0").glob("*.distcp")} == {"__0_0.distcp", "__1_0.distcp"}
    publish_checkpoint(Folder(str(last)), Folder(str(tmp_path / "student")), describe=_as_it_is)
    assert is_trained(tmp_path / "student"), "the published model is the one that training began with"


def test_a_killed_worker_changes_no_loss_of_an_adapter_whose_attention_is_drawn(
    tmp_path: Path, samples: Folder
) -> None:
    """Nor do shards of the model, but for rounding."""
    peft = {"r": 4, "lora_dropout": 0.1}
    whole = train(Folder(str(tmp_path / "whole")), samples, TRL, kill=False, peft=peft, attending=True)
    killed = train(Folder(str(tmp_path / "killed")), samples, TRL, kill=True, peft=peft, attending=True)
    assert len(whole) == 8
    assert killed == whole
    sharded = train(Folder(str(tmp_path / "sharded")), samples, SHARDED_WHOLE, kill=False, peft=peft, attending=True)
    assert sharded == pytest.approx(whole, abs=1e-4)
    student, adapters = SftConfig().student, list[dict[str, Any]]()
    for name in ("killed", "sharded"):
        last, out = Folder((tmp_path / name / "last").read_text()), Folder(str(tmp_path / f"{name}-student"))
        publish_adapted(student, last, out / "checkpoint", adapter=out / "adapter", describe=_as_it_is)
        assert is_trained(out.local / "checkpoint"), "the published model is the one that training began with"
        adapters.append(load_file(out.local / "adapter" / ADAPTER_WEIGHTS))
    assert adapters[0].keys() == adapters[1].keys()
    for name, tensor in adapters[0].items():
        assert (tensor - adapters[1][name]).abs().max() < 1e-4, name


def _history(out: Folder) -> tuple[list[int], list[float]]:
    """The steps that a stage's output tells of, and their losses."""
    rows = [row for row in _rows(out) if "loss" in row]
    return [row["step"] for row in rows], [row["loss"] for row in rows]


def _rows(out: Folder) -> list[dict[str, Any]]:
    return json.loads(out.read_bytes("history.json"))


def _as_it_is(folder: Path) -> None:
    """The folder needs no chat template of another format."""


def is_trained(folder: Path) -> bool:
    """Whether a model, which must load whole, is another than the embedded student."""
    from transformers import AutoModelForCausalLM

    from stillery.sampling.models import check_model, resolve_model

    check_model("student", str(folder))
    trained, report = AutoModelForCausalLM.from_pretrained(folder, output_loading_info=True)
    assert not report["missing_keys"]
    untouched = AutoModelForCausalLM.from_pretrained(resolve_model("embedded:student")).state_dict()
    found = trained.state_dict()
    assert found.keys() == untouched.keys()
    return any((found[name].float() != untouched[name].float()).any() for name in found)
