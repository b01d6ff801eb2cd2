"""Train the embedded models: `python -m stillery.embedded.train tokenizer|teacher|student --out DIR`.

In: the generators of stillery.prompts (buckets teacher_train and base_train). Out: Hugging Face folders. A run that was
stopped goes on from DIR/checkpoint.pt.
"""

import argparse
import json
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PEAK_LR_MATRICES = 5e-3
PEAK_LR_OTHER = 3e-3
SAVE_EVERY_S = 60.0


@dataclass(frozen=True, slots=True)
class Shape:
    """The size of a model and of its training rows. Matrix rows are multiples of 32, as 4-bit formats need."""

    hidden: int
    layers: int
    heads: int
    kv_heads: int
    feed_forward: int
    row_length: int
    rows: int


SHAPES = {
    "teacher": Shape(hidden=192, layers=6, heads=6, kv_heads=2, feed_forward=768, row_length=512, rows=9),
    "student": Shape(hidden=128, layers=4, heads=4, kv_heads=2, feed_forward=320, row_length=1024, rows=5),
}


def make_model(shape: Shape, *, seed: int) -> Any:
    """A Qwen3ForCausalLM of this shape with fresh weights."""
    import torch
    from transformers import Qwen3Config, Qwen3ForCausalLM

    from stillery.embedded.tokenizer import VOCAB_SIZE

    torch.manual_seed(seed)
    config = Qwen3Config(
        vocab_size=VOCAB_SIZE, hidden_size=shape.hidden, intermediate_size=shape.feed_forward,
        num_hidden_layers=shape.layers, num_attention_heads=shape.heads, num_key_value_heads=shape.kv_heads,
        head_dim=32, max_position_embeddings=2048, tie_word_embeddings=True, initializer_range=0.02,
        rope_parameters={"rope_type": "default", "rope_theta": 10000.0},
        pad_token_id=0, bos_token_id=None, eos_token_id=2, attn_implementation="sdpa",
    )  # fmt: skip
    return Qwen3ForCausalLM(config)


def make_optimizers(model: Any) -> list[Any]:
    """Muon (Jordan et al., 2024) for the matrices inside the layers, AdamW for embeddings and norms."""
    import torch

    matrices = [p for n, p in model.named_parameters() if p.ndim == 2 and "embed" not in n]
    others = [p for n, p in model.named_parameters() if p.ndim != 2 or "embed" in n]
    return [
        torch.optim.Muon(
            matrices, lr=PEAK_LR_MATRICES, momentum=0.95, weight_decay=0.01, adjust_lr_fn="match_rms_adamw"
        ),
        torch.optim.AdamW(others, lr=PEAK_LR_OTHER, betas=(0.9, 0.95), weight_decay=0.0),
    ]


def train_step(model: Any, batch: Any, optimizers: list[Any], *, device: str, sample: bool) -> tuple[float, Any]:
    """One step on a Batch. Returns the mean loss in nats, and with `sample` the model's own draws (rows, row_length)."""
    import torch

    tokens = torch.from_numpy(batch.tokens).to(device)
    weights = torch.from_numpy(batch.weights).to(device)[:, 1:].reshape(-1)
    at = weights.nonzero().squeeze(1)
    with torch.autocast(device, torch.bfloat16):
        hidden = model.model(input_ids=tokens, use_cache=False).last_hidden_state[:, :-1]
        logits = model.lm_head(hidden.reshape(-1, hidden.shape[-1])[at]).float()
    targets = tokens[:, 1:].reshape(-1)[at]
    losses = torch.nn.functional.cross_entropy(logits, targets, reduction="none")
    loss = (losses * weights[at]).sum() / weights.sum()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    for optimizer in optimizers:
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    sampled = None
    if sample:
        flat = tokens.clone()
        drawn = torch.multinomial(torch.softmax(logits.detach() / 1.2, -1), 1).squeeze(1)
        flat[:, 1:] = flat[:, 1:].reshape(-1).index_copy(0, at, drawn).reshape(flat.shape[0], -1)
        sampled = flat.cpu().numpy()
    return float(loss.detach()), sampled


def train(role: str, out: Path, *, minutes: float, device: str, seed: int, own_from: float) -> None:
    """Train for a time; the learning rate falls linearly to 0 over it. Time spent stopped by a signal counts not.

    From the fraction `own_from` of the time on, a third of the teacher's examples correct its own mistakes.
    """
    import torch

    from stillery.embedded.examples import find_mistakes
    from stillery.embedded.tokenizer import load_tokenizer

    shape = SHAPES[role]
    tokenizer = load_tokenizer(out)
    model = make_model(shape, seed=seed).to(device)
    optimizers = make_optimizers(model)
    mistakes: deque[Any] = deque(maxlen=1000)
    mistake_share = [0.0]
    batches = _batches(role, tokenizer, shape, seed=seed, mistakes=mistakes, mistake_share=mistake_share)
    spent, step, saved, done = _resume(out, model, optimizers)
    log = (out / "log.jsonl").open("a", buffering=1)
    recent: deque[float] = deque(maxlen=20)
    while done < 1:
        started = time.monotonic()
        done = min(1.0, spent / (60 * minutes))
        warm = min(1.0, (step + 1) / 30)
        for optimizer, peak in zip(optimizers, (PEAK_LR_MATRICES, PEAK_LR_OTHER), strict=True):
            for group in optimizer.param_groups:
                group["lr"] = peak * warm * (1 - done)
        own = role == "teacher" and done >= own_from
        mistake_share[0] = 0.33 if own else 0.0
        batch = next(batches)
        loss, sampled = train_step(model, batch, optimizers, device=device, sample=role == "teacher" and step % 2 == 0)
        if sampled is not None:
            mistakes.extend(find_mistakes(batch, sampled, tokenizer))
        recent.append(loss)
        step += 1
        # A pause (SIGSTOP) shows as one absurdly long step.
        took = min(time.monotonic() - started, 5.0)
        spent += took
        if step % 20 == 0:
            row = {"step": step, "done": round(done, 4), "loss": round(sum(recent) / len(recent), 4)}
            row |= {"s_per_step": round(took, 3), "tokens_per_s": int(batch.tokens.size / took), "own": len(mistakes)}
            log.write(json.dumps(row) + "\n")
        if spent - saved > SAVE_EVERY_S or done >= 1:
            saved = spent
            state = {"model": model.state_dict(), "optimizers": [o.state_dict() for o in optimizers]}
            torch.save(state | {"spent": spent, "step": step}, out / "checkpoint.partial")
            (out / "checkpoint.partial").rename(out / "checkpoint.pt")
    export(role, out)


def _batches(role: str, tokenizer: Any, shape: Shape, *, seed: int, mistakes: Any, mistake_share: Any) -> Iterator[Any]:
    from stillery.embedded.examples import pack, teacher_examples

    if role == "teacher":
        examples = teacher_examples(tokenizer, seed=seed, mistakes=mistakes, mistake_share=mistake_share)
    else:
        from stillery.embedded.base_examples import student_examples

        examples = student_examples(tokenizer, seed=seed)
    return pack(examples, rows=shape.rows, row_length=shape.row_length, pad=tokenizer.pad_token_id)


def _resume(out: Path, model: Any, optimizers: list[Any]) -> tuple[float, int, float, float]:
    import torch

    if not (out / "checkpoint.pt").exists():
        return 0.0, 0, 0.0, 0.0
    state = torch.load(out / "checkpoint.pt", weights_only=True)
    model.load_state_dict(state["model"])
    for optimizer, saved in zip(optimizers, state["optimizers"], strict=True):
        optimizer.load_state_dict(saved)
    return state["spent"], state["step"], state["spent"], 0.0


def export(role: str, out: Path) -> None:
    """Write the checkpoint of `out` as a Hugging Face folder in bfloat16 into `out`/model."""
    import torch
    from transformers import GenerationConfig

    from stillery.embedded.tokenizer import load_tokenizer

    model = make_model(SHAPES[role], seed=0)
    model.load_state_dict(torch.load(out / "checkpoint.pt", weights_only=True)["model"])
    model = model.to(torch.bfloat16)
    model.generation_config = GenerationConfig(eos_token_id=2, pad_token_id=0, do_sample=True, temperature=1.0)
    folder = out / "model"
    model.save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        if (out / name).exists():
            (folder / name).write_bytes((out / name).read_bytes())
    load_tokenizer(folder)


def main() -> None:
    """Parse the command line and train."""
    parser = argparse.ArgumentParser(prog="python -m stillery.embedded.train", description=__doc__)
    parser.add_argument("what", choices=("tokenizer", "teacher", "student", "export-teacher", "export-student"))
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--tokenizer", type=Path, help="folder of the trained tokenizer")
    parser.add_argument("--minutes", type=float, default=25.0)
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--own-from", type=float, default=0.6)
    options = parser.parse_args()
    if options.what == "tokenizer":
        from stillery.embedded.tokenizer import train_tokenizer

        train_tokenizer(options.out)
        return
    if options.what.startswith("export-"):
        export(options.what.removeprefix("export-"), options.out)
        return
    import shutil

    options.out.mkdir(parents=True, exist_ok=True)
    for path in options.tokenizer.iterdir():
        shutil.copy(path, options.out / path.name)
    train(
        options.what, options.out, minutes=options.minutes, device=options.device, seed=options.seed,
        own_from=options.own_from,
    )  # fmt: skip


if __name__ == "__main__":
    main()
