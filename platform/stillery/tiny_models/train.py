"""Train the embedded models: `python -m stillery.tiny_models.train tokenizer|teacher|student --out DIR`.

In: the generators of stillery.problems (buckets teacher_train and base_train). Out: DIR with the tokenizer, a log, and
DIR/model, the Hugging Face folder. A run that was stopped goes on from DIR/checkpoint.pt.
"""

import argparse
import json
import shutil
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from stillery.tiny_models.examples import OwnMistake, PackedBatch, Shares, find_mistakes, pack, teacher_examples
from stillery.tiny_models.model import SHAPES, TOKENIZER_FILES, export, make_model
from stillery.tiny_models.tokenizer import PAD_ID, load_tokenizer, train_tokenizer

# For each optimizer's parameter groups: matrices; embeddings, norms.
PEAK_LEARNING_RATES = ((8e-3,), (1e-2, 3e-3))
WARM_UP_STEPS = 30
# The teacher's examples up to a fraction of its training: drills teach copying; its own mistakes come last. Wrong
# values are common enough that a check which only repeats the expected value is often wrong.
PHASES = (
    (0.15, Shares(drills=0.5, own_mistakes=0.0, made_up_mistakes=0.15)),
    (0.7, Shares(drills=0.2, own_mistakes=0.0, made_up_mistakes=0.15)),
    (1.0, Shares(drills=0.15, own_mistakes=0.35, made_up_mistakes=0.15)),
)
# Own mistakes are sampled at a slightly higher temperature than the teacher's, to see more of them.
OWN_TEMPERATURE = 1.2
SAVE_EVERY_S = 60.0
LOG_EVERY_STEPS = 20
# A process suspended by a signal measures one absurdly long step; it counts at most this much.
LONGEST_STEP_S = 5.0


def make_optimizers(model: Any) -> list[Any]:
    """Muon (Jordan et al., 2024) for the matrices inside the layers, AdamW for embeddings and norms."""
    import torch

    named = list(model.named_parameters())
    matrices = [p for name, p in named if p.ndim == 2 and "embed" not in name]
    embeddings = [p for name, p in named if "embed" in name]
    norms = [p for _, p in named if p.ndim == 1]
    muon = torch.optim.Muon(matrices, momentum=0.95, weight_decay=0.01, adjust_lr_fn="match_rms_adamw")
    groups = [{"params": embeddings}, {"params": norms}]
    return [muon, torch.optim.AdamW(groups, betas=(0.9, 0.95), weight_decay=0.0)]


def train_step(model: Any, batch: PackedBatch, optimizers: list[Any], *, device: str, draw: bool) -> tuple[float, Any]:
    """One step on a batch. Returns the mean loss in nats and, if `draw`, the model's own samples of every trained token
    (rows, row_length), with the batch's tokens elsewhere."""
    import torch

    tokens = torch.from_numpy(batch.tokens).to(device)
    weights = torch.from_numpy(batch.weights).to(device)[:, 1:].reshape(-1)
    at = weights.nonzero().squeeze(1)
    with torch.autocast(device, torch.bfloat16):
        hidden = model.model(input_ids=tokens, use_cache=False).last_hidden_state[:, :-1]
        logits = model.lm_head(hidden.reshape(-1, hidden.shape[-1])[at]).float()
    losses = torch.nn.functional.cross_entropy(logits, tokens[:, 1:].reshape(-1)[at], reduction="none")
    loss = (losses * weights[at]).sum() / weights.sum()
    if not loss.isfinite():
        raise RuntimeError(f"the loss is {float(loss)}: the last checkpoint is good, this step was not taken")
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    for optimizer in optimizers:
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    if not draw:
        return float(loss.detach()), None
    drawn = torch.multinomial(torch.softmax(logits.detach() / OWN_TEMPERATURE, -1), 1).squeeze(1)
    sampled = tokens[:, 1:].reshape(-1).index_copy(0, at, drawn).reshape(tokens.shape[0], -1)
    return float(loss.detach()), torch.cat([tokens[:, :1], sampled], dim=1).cpu().numpy()


def train(role: str, out: Path, *, minutes: float, device: str, seed: int) -> None:
    """Train for a given time, over which the learning rate falls linearly to 0. Resumes from a checkpoint in `out`."""
    shape = SHAPES[role]
    tokenizer = load_tokenizer(out)
    model = make_model(shape, seed=seed).to(device)
    optimizers = make_optimizers(model)
    spent, step = _resume(out / "checkpoint.pt", model, optimizers)
    own: deque[OwnMistake] = deque(maxlen=1000)
    progress, saved = spent / (60 * minutes), spent

    def examples() -> Iterator[Any]:
        if role == "teacher":
            return teacher_examples(tokenizer, seed=seed + step, own=own, shares=lambda: _shares_at(progress))
        from stillery.tiny_models.base_examples import student_examples

        return student_examples(tokenizer, seed=seed + step)

    batches = pack(examples(), rows=shape.rows, row_length=shape.row_length, pad=PAD_ID)
    recent: deque[float] = deque(maxlen=LOG_EVERY_STEPS)
    while progress < 1:
        started = time.monotonic()
        _set_learning_rates(optimizers, step=step, progress=progress)
        batch = next(batches)
        draw = role == "teacher" and _shares_at(progress).own_mistakes > 0
        loss, sampled = train_step(model, batch, optimizers, device=device, draw=draw)
        if draw:
            own.extend(find_mistakes(batch, sampled, tokenizer))
        recent.append(loss)
        step += 1
        took = min(time.monotonic() - started, LONGEST_STEP_S)
        spent += took
        progress = min(1.0, spent / (60 * minutes))
        if step % LOG_EVERY_STEPS == 0:
            _log(out / "log.jsonl", step=step, progress=progress, recent=recent, tokens_per_s=batch.tokens.size / took)
        if spent - saved > SAVE_EVERY_S or progress >= 1:
            saved = spent
            _save(out / "checkpoint.pt", model, optimizers, spent=spent, step=step)
    export(out / "checkpoint.pt", role=role, tokenizer=out, out=out / "model")


def _shares_at(progress: float) -> Shares:
    return next(shares for until, shares in PHASES if progress <= until)


def _set_learning_rates(optimizers: list[Any], *, step: int, progress: float) -> None:
    scale = min(1.0, (step + 1) / WARM_UP_STEPS) * (1 - progress)
    for optimizer, peaks in zip(optimizers, PEAK_LEARNING_RATES, strict=True):
        for group, peak in zip(optimizer.param_groups, peaks, strict=True):
            group["lr"] = peak * scale


def _log(path: Path, *, step: int, progress: float, recent: deque[float], tokens_per_s: float) -> None:
    row = {
        "step": step,
        "progress": round(progress, 4),
        "loss": round(sum(recent) / len(recent), 4),
        "tokens_per_s": int(tokens_per_s),
    }
    with path.open("a") as file:
        file.write(json.dumps(row) + "\n")
    print(json.dumps(row), flush=True)


def _save(path: Path, model: Any, optimizers: list[Any], *, spent: float, step: int) -> None:
    """Written to a temporary name, then renamed: a run that dies leaves the last complete checkpoint."""
    import torch

    state = {"model": model.state_dict(), "optimizers": [o.state_dict() for o in optimizers]}
    torch.save(state | {"spent": spent, "step": step}, path.with_suffix(".partial"))
    path.with_suffix(".partial").rename(path)


def _resume(path: Path, model: Any, optimizers: list[Any]) -> tuple[float, int]:
    """Load a checkpoint if there is one. Returns the seconds spent and the steps done."""
    import torch

    if not path.exists():
        return 0.0, 0
    state = torch.load(path, weights_only=True)
    model.load_state_dict(state["model"])
    for optimizer, saved in zip(optimizers, state["optimizers"], strict=True):
        optimizer.load_state_dict(saved)
    return state["spent"], state["step"]


def main() -> None:
    """Parse the command line and do it."""
    parser = argparse.ArgumentParser(prog="python -m stillery.tiny_models.train", description=__doc__)
    parser.add_argument("what", choices=("tokenizer", *SHAPES, *(f"export-{role}" for role in SHAPES)))
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--tokenizer", type=Path, help="folder that `tokenizer` wrote (default: a new one)")
    parser.add_argument("--minutes", type=float, default=24.0)
    parser.add_argument("--threads", type=int, help="of the CPU (default: torch's choice)")
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    if options.threads is not None:
        import torch

        torch.set_num_threads(options.threads)
    if options.what.startswith("export-"):
        role = options.what.removeprefix("export-")
        export(options.out / "checkpoint.pt", role=role, tokenizer=options.out, out=options.out / "model")
        return
    if options.tokenizer is None:
        train_tokenizer(options.out, seed=options.seed)
    else:
        for name in TOKENIZER_FILES:
            shutil.copy(options.tokenizer / name, options.out / name)
    if options.what in SHAPES:
        train(
            options.what,
            options.out,
            minutes=options.minutes,
            device=options.device,
            seed=options.seed,
        )


if __name__ == "__main__":
    main()
