"""TRL's GRPO with vLLM in the trainer's own process: the locked TRL and vLLM work together, and vLLM samples from the
weights as training changes them."""

import os
import tempfile
from typing import Any

from benchmarks.gpu_check.data import unseen_problems
from benchmarks.gpu_check.evidence import Figures, demand
from stillery.sampling.models import resolve_model
from stillery.tiny_models.tokenizer import render_prompt

STEPS = 12
# Nats a token, in the mean, between vLLM and the trainer: room for bf16's rounding. What the training moves must be
# several times as much, or an engine that kept the first weights would pass.
MOST_DIFFERENCE, LEAST_CONTRAST = 0.1, 3
DIFFERENCE = "sampling/sampling_logp_difference/mean"


def grpo_vllm(device: str) -> Figures:
    """Twelve steps with a tiny reward: it varies, gradients flow, and both engines agree on log-probabilities."""
    from datasets import Dataset
    from transformers import AutoTokenizer
    from trl import GRPOConfig, GRPOTrainer

    model = resolve_model("embedded:student")
    tokenizer = AutoTokenizer.from_pretrained(model)
    prompts = [render_prompt(problem.question) for problem in unseen_problems(8)]
    on_gpu: dict[str, Any] = {"bf16": True, "vllm_gpu_memory_utilization": 0.2}
    os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "1")
    on_cpu: dict[str, Any] = {"use_cpu": True, "bf16": False, "dataloader_pin_memory": False}
    with tempfile.TemporaryDirectory() as folder:
        arguments = GRPOConfig(
            output_dir=folder,
            use_vllm=True,
            vllm_mode="colocate",
            vllm_max_model_length=512,
            per_device_train_batch_size=32,
            num_generations=8,
            max_completion_length=48,
            max_steps=STEPS,
            learning_rate=1e-3,
            lr_scheduler_type="constant",
            logging_steps=1,
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
            seed=0,
            **(on_gpu if device == "cuda" else on_cpu),
        )
        trainer = GRPOTrainer(
            model=model,
            reward_funcs=tiny_reward,
            args=arguments,
            train_dataset=Dataset.from_list([{"prompt": prompt} for prompt in prompts]),
            processing_class=tokenizer,
        )
        rows = [tokenizer(prompt)["input_ids"] for prompt in prompts]
        before = log_probabilities(trainer.model, rows)
        trainer.train()
        moved = float((log_probabilities(trainer.model, rows) - before).abs().mean())
    history = [row for row in trainer.state.log_history if "reward" in row]
    demand(len(history) == STEPS, f"{len(history)} of {STEPS} steps were logged")
    demand(max(row["reward_std"] for row in history) > 0, "every completion got the same reward")
    demand(max(row["grad_norm"] for row in history) > 0, "no gradient flowed")
    worst = max(row[DIFFERENCE] for row in history)
    demand(worst <= MOST_DIFFERENCE, f"vLLM's log-probabilities are {worst:.2g} nats off: it samples other weights")
    demand(
        moved >= LEAST_CONTRAST * worst, f"training moved log-probabilities by {moved:.2g} nats, which shows nothing"
    )
    return {
        "first reward": history[0]["reward"],
        "last reward": history[-1]["reward"],
        "nats between vLLM and trainer": worst,
        "nats that training moved": moved,
    }


def log_probabilities(model: Any, rows: list[list[int]]) -> Any:
    """What the model gives to each token of the rows after their first, in nats, as one tensor on the CPU."""
    import torch

    parts: list[Any] = []
    with torch.no_grad():
        for row in rows:
            tokens = torch.tensor([row], device=model.device)
            logits = model(tokens, use_cache=False).logits[0, :-1].float()
            parts.append(logits.log_softmax(-1).gather(1, tokens[0, 1:, None])[:, 0].cpu())
    return torch.cat(parts)


def tiny_reward(completions: list[str], **_: Any) -> list[float]:
    """The share of digits in a completion: something that varies and that nobody wants."""
    return [sum(c.isdigit() for c in text) / max(1, len(text)) for text in completions]
