"""QLoRA on the GPU: an adapter over a student in bitsandbytes' 4 bits, merged into the unquantized student."""

import functools
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.gpu_check.data import LEAST_FALL, prepared_rows
from benchmarks.gpu_check.evidence import Figures, demand, fall_of
from stillery.config import SftConfig
from stillery.io.storage import Folder
from stillery.sampling.adapters import quiet_peft
from stillery.sampling.chat.checkpoint import write_format
from stillery.sampling.models import resolve_model
from stillery.training.adapters import lora_config, quantization_config
from stillery.training.checkpoints import count_parameters, publish_adapted
from stillery.training.loop import trl_arguments

STUDENT = "embedded:student"
# Of logits in float32, of the merged student and of student and adapter apart.
MOST_APART = 1e-3
_TRL = {"per_device_train_batch_size": 8, "learning_rate": 1e-2, "num_train_epochs": 8, "logging_steps": 1,
        "max_length": 768}  # fmt: skip


def qlora(device: str) -> Figures:
    """The trainer with `sft.quantize: nf4`: linear layers are in 4 bits, loss falls, and what the stage publishes is
    the unquantized student with the adapter. A rehearsal on a CPU has no 4 bits."""
    quiet_peft()
    from transformers import AutoTokenizer
    from trl import SFTConfig, SFTTrainer

    on_gpu = device == "cuda"
    config = SftConfig(
        student=STUDENT,
        use_gpu=on_gpu,
        peft={"r": 16, "lora_alpha": 32},
        quantize="nf4" if on_gpu else None,
        trl={**_TRL, **({"bf16": True} if on_gpu else {})},
    )
    student = resolve_model(STUDENT)
    with tempfile.TemporaryDirectory() as folder:
        rows, conversation, end = prepared_rows(config, Path(folder), per_task=8)
        settings = {"use_gpu": config.use_gpu, "seed": 0, "trl": config.trl}
        trainer: Any = SFTTrainer(
            model=student,
            args=SFTConfig(output_dir=f"{folder}/checkpoints", **trl_arguments(settings, has_validation=False)),
            train_dataset=rows,
            processing_class=AutoTokenizer.from_pretrained(student),
            peft_config=lora_config(config.peft or {}),
            quantization_config=quantization_config(config.quantize),
        )
        quantized = sum(type(module).__name__ == "Linear4bit" for module in trainer.model.modules())
        demand(not on_gpu or quantized > 0, "no linear layer is in 4 bits")
        trainer.train()
        saved = Path(folder) / "checkpoints" / f"checkpoint-{trainer.state.global_step}"
        for described in (trainer.model.config, trainer.processing_class):
            described.save_pretrained(saved)
        out = Folder(folder)
        describe = functools.partial(write_format, conversation=conversation, end=end)
        publish_adapted(
            STUDENT,
            Folder(str(saved)),
            out / "checkpoint",
            adapter=out / "adapter",
            describe=describe,
            is_quantized=config.quantize is not None,
        )
        apart = _merged_difference(student, out)
        count, expected = count_parameters(out / "checkpoint"), count_parameters(Folder(student))
    demand(apart <= MOST_APART, f"merged and apart, logits differ by {apart:.2g}")
    demand(count == expected, f"the checkpoint has {count} parameters, the student {expected}")
    losses = [row["loss"] for row in trainer.state.log_history if "loss" in row]
    fall = fall_of(losses)
    demand(fall >= LEAST_FALL, f"the loss fell by {fall:.2f} of itself, not by {LEAST_FALL:g}")
    return {
        "first loss": losses[0],
        "last loss": losses[-1],
        "fell by": fall,
        "layers in 4 bits": quantized,
        "merged logits' difference": apart,
    }


def _merged_difference(student: str, out: Folder) -> float:
    """The largest difference of logits between the published checkpoint and the student with the adapter beside it."""
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    whole: Any = AutoModelForCausalLM.from_pretrained((out / "checkpoint").local, dtype=torch.float32)
    base: Any = AutoModelForCausalLM.from_pretrained(student, dtype=whole.dtype)
    beside = PeftModel.from_pretrained(base, str((out / "adapter").local))
    tokens = torch.arange(5, 45)[None]
    with torch.inference_mode():
        return float((whole(tokens).logits - beside(tokens).logits).abs().max())
