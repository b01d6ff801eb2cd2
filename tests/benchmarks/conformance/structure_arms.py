"""Does training on structure help a student? Arms that differ in one thing, on one curated set, in turn in one process.

    PYTHONPATH=platform:tests python tests/benchmarks/conformance/structure_arms.py --run RUN --samples 600 --epochs 4

RUN is a finished run's folder (`~/.stillery/runs/demo`), whose curated samples, generations and problems are reused.
The arms are plain fine-tuning, a loss weighted by bonds, and attention drawn to the teacher's, to the bonds, and to the
bonds' shares dealt out anew among the sources of each row, a control. All begin with the same student and see the same
rows in the same order; the test problems are sampled with the same seeds. Prints pass@1 by task, the paired difference
to plain with its 95% interval, CPU seconds a step and how far the student's attention was from its target. No Ray: what
is compared is the loss, with the trainers that the stage has.
"""

import argparse
import dataclasses
import gc
import random
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from stillery.bonds import analyze
from stillery.config import AttentionConfig, CurateConfig, SftConfig
from stillery.config.sampling import EngineConfig
from stillery.curation.weights import weights_of
from stillery.io.storage import Folder
from stillery.metrics import Gain, gain_of
from stillery.records import AttentionTarget, Generation, Message, Prompt, Sample, Split
from stillery.sampling.adapters import quiet_peft
from stillery.sampling.chat.conversation import Conversation, open_conversation, student_format
from stillery.sampling.models import resolve_model
from stillery.training.attention.files import calibrate, targets_name, write_targets
from stillery.training.attention.transfer import Transfer, transfer_rows, transfer_trainer
from stillery.training.data import keep_shards, open_shards, prepare_file
from stillery.training.loop import trl_arguments
from stillery.training.refine.data import RefineProblem
from stillery.training.refine.rollouts import Sampling, VllmSampler
from stillery.training.refine.validation import Validation
from stillery.training.weights import weighted_rows, weighted_trainer

ARMS = ("plain", "weighted", "teacher", "bonds", "dealt")
FILE = "samples-00000.parquet"
LAYER = 2


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--arms", nargs="*", default=ARMS, choices=ARMS)
    parser.add_argument("--samples", type=int, default=600)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--learning-rate", type=float, default=0.004)
    parser.add_argument("--bond-weight", type=float, default=0.5)
    parser.add_argument("--weight", type=float, default=0.1)
    parser.add_argument("--answers", type=int, default=4, help="samples of each test problem")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parsed = parser.parse_args()
    quiet_peft()
    import torch
    import transformers

    transformers.utils.logging.disable_progress_bar()
    torch.set_num_threads(parsed.threads)
    started = time.process_time()
    with tempfile.TemporaryDirectory() as scratch:
        results: dict[str, Any] = {}
        for arm, result in run_arms(parsed, Path(scratch)):
            results[arm] = result
            print(f"\n{table(results)}\n", flush=True)
    print(f"\n{(time.process_time() - started) / 60:.1f} CPU minutes")


def stage_folder(run: Path, stage: str) -> Folder:
    """The newest output of a stage of a run."""
    outputs = [path for path in (run / "stages" / stage).iterdir() if (path / "manifest.json").exists()]
    return Folder(str(max(outputs, key=lambda path: path.stat().st_mtime)))


def run_arms(parsed: argparse.Namespace, scratch: Path) -> Any:
    """Train and measure one arm after the other."""
    curated, prompts = stage_folder(parsed.run, "curate"), stage_folder(parsed.run, "prompts")
    rows = [s for s in curated.read_all(Sample).to_pylist() if s["split"] == Split.TRAIN]
    chosen = rows[:: max(1, len(rows) // parsed.samples)][: parsed.samples]
    samples = [_revived(row) for row in chosen]
    wanted = {sample.sample_id for sample in samples}
    written = [
        g for name in stage_folder(parsed.run, "generate").names(".parquet")
        for g in stage_folder(parsed.run, "generate").read_rows(name, Generation) if g.sample_id in wanted
    ]  # fmt: skip
    generations = Folder(str(scratch / "generations"))
    generations.write_rows("generations-00000.parquet", written, Generation)
    config = SftConfig()
    conversation = open_conversation(student_format(config), key="sft.student")
    problems = [p for p in prompts.read_rows("prompts.parquet", Prompt) if p.split in (Split.TEST, Split.HELD_OUT)]
    trainers: dict[str, Any] = {}
    measure = measuring(problems, conversation, answers=parsed.answers, seed=parsed.seed, threads=parsed.threads)
    for arm in parsed.arms:
        folder = scratch / arm
        began = time.perf_counter()
        trainer = trainer_of(arm, samples, generations, parsed=parsed, folder=folder)
        prepared = time.perf_counter() - began
        trainers["now"] = trainer
        if arm == parsed.arms[0]:
            untouched = measure(lambda: trainers["now"].model)
            print(f"untouched: pass@1 {fmean(untouched.values()):.3f}", flush=True)
        began = time.process_time()
        trainer.train()
        seconds = time.process_time() - began
        rates = measure(lambda: trainers["now"].model)
        history = trainer.state.log_history
        divergence = [row["attention_kl"] for row in history if "attention_kl" in row]
        losses = [row["loss"] for row in history if "loss" in row]
        told = f"{arm}: {trainer.state.global_step} steps, last loss {losses[-1]:.3f}"
        if divergence:
            told += f", attention KL {divergence[0]:.2f} to {divergence[-1]:.2f}"
        print(
            f"{told}, {prepared:.0f} s prepared, {seconds:.0f} CPU s trained, pass@1 {fmean(rates.values()):.3f}",
            flush=True,
        )
        yield arm, (rates, problems, seconds / trainer.state.global_step)
        del trainer
        gc.collect()


def _revived(row: dict[str, Any]) -> Sample:
    messages = {key: [Message(**message) for message in row[key]] for key in ("prompt", "completion")}
    return Sample(**{**row, **messages})


def trainer_of(
    arm: str, samples: Sequence[Sample], generations: Folder, *, parsed: argparse.Namespace, folder: Path
) -> Any:
    """The trainer of an arm, with its data prepared as the stages do it."""
    from transformers import AutoTokenizer, PrinterCallback
    from trl import SFTConfig, SFTTrainer

    config = SftConfig(trl={"max_length": 768})
    shards, data = Folder(str(folder / "samples")), Folder(str(folder / "data"))
    weighted = [weigh(sample, share=parsed.bond_weight) for sample in samples] if arm == "weighted" else list(samples)
    shards.write_rows(FILE, weighted, Sample)
    targets = None
    if arm in ("teacher", "bonds", "dealt"):
        targets = targets_of(arm, shards, generations, out=Folder(str(folder / "targets")), parsed=parsed)
    needs_weights = arm != "plain"
    prepared = prepare_file(
        FILE, config=config, chat=student_format(config), samples=shards, data=data, weighted=needs_weights,
        targets=targets,
    )  # fmt: skip
    keep_shards(data, "train", folder / "train.arrow")
    rows = open_shards(folder / "train.arrow")
    settings = {
        "num_train_epochs": parsed.epochs, "per_device_train_batch_size": parsed.batch,
        "learning_rate": parsed.learning_rate, "adam_beta2": 0.95, "lr_scheduler_type": "cosine", "warmup_steps": 20,
        "weight_decay": 0.01, "save_strategy": "no", "logging_steps": 5,
    }  # fmt: skip
    trl = trl_arguments({"trl": settings, "use_gpu": False, "seed": parsed.seed}, has_validation=False)
    arguments = SFTConfig(output_dir=str(folder / "out"), **trl)
    kind: Any = SFTTrainer
    if needs_weights:
        arguments.dataset_kwargs = {"skip_prepare_dataset": True}
        ready = weighted_rows if targets is None else transfer_rows
        rows = ready(rows, arguments, packing=False)
        mean = prepared.weight / prepared.num_tokens
        kind = weighted_trainer(mean_weight=mean)
        if targets is not None:
            scale = prepared.num_tokens / prepared.mass
            kind = transfer_trainer(Transfer(parsed.weight, 2 / 3, LAYER, scale), mean_weight=mean)
    student = resolve_model(config.student)
    trainer = kind(
        model=student, args=arguments, train_dataset=rows, processing_class=AutoTokenizer.from_pretrained(student)
    )
    trainer.remove_callback(PrinterCallback)
    return trainer


def weigh(sample: Sample, *, share: float) -> Sample:
    """The sample with the weights that curation would give it."""
    molecule = analyze(sample.completion[0].content, question=sample.prompt[0].content, markers=False)
    return dataclasses.replace(sample, weights=weights_of(CurateConfig(bond_weight=share), molecule))


def targets_of(arm: str, samples: Folder, generations: Folder, *, out: Folder, parsed: argparse.Namespace) -> Folder:
    config = AttentionConfig(target="teacher" if arm == "teacher" else "bonds", weight=parsed.weight)
    given: dict[str, Any] = {
        "teacher": resolve_model("embedded:teacher") if arm == "teacher" else None, "samples": samples,
        "generations": generations,
    }  # fmt: skip
    calibration = calibrate(config, **given)
    counts = write_targets(FILE, config=config, calibration=calibration, out=out, **given)
    print(f"{arm}: {calibration}, {counts}", flush=True)
    if arm == "dealt":
        rng = random.Random(parsed.seed)
        dealt = [_deal(target, rng) for target in out.read_rows(targets_name(FILE), AttentionTarget)]
        out.write_rows(targets_name(FILE), dealt, AttentionTarget)
    return out


def _deal(target: AttentionTarget, rng: random.Random) -> AttentionTarget:
    rows = [dataclasses.replace(row, mass=rng.sample(row.mass, len(row.mass))) for row in target.rows]
    return dataclasses.replace(target, rows=rows)


def measuring(
    problems: Sequence[Prompt], conversation: Conversation, *, answers: int, seed: int, threads: int
) -> Callable[[Callable[[], Any]], dict[str, float]]:
    """What answers the problems with a model's weights: the share of right answers by prompt_id. One engine serves all
    arms."""
    asked = [
        RefineProblem(
            p.prompt_id, p.task, p.question, p.answer or "", p.answer_kind, p.choices, p.num_steps,
            conversation.render([Message("user", p.question)], ask=True),
        )
        for p in problems
    ]  # fmt: skip
    stop = conversation.tokenizer.eos_token_id
    held: dict[str, Any] = {}

    def measure(model: Callable[[], Any]) -> dict[str, float]:
        if not held:
            engine = EngineConfig(
                engine={"max_model_len": 1024, "logprobs_mode": "processed_logprobs"}, threads=threads
            )
            sampling = Sampling(temperature=1.0, max_tokens=512, stop_token_ids=(stop,), seed=seed)
            held["sampler"] = VllmSampler("embedded:student", engine, sampling=sampling, model=model)
        validation = Validation(
            asked, num_samples=answers, sampler=held["sampler"], tokenizer=conversation.tokenizer, stops=(stop,)
        )
        held["sampler"].sync_weights()
        rates, _ = validation._rates(asked, draw="test")
        return dict(zip((p.prompt_id for p in problems), rates, strict=True))

    return measure


def table(results: dict[str, Any]) -> str:
    """pass@1 by task and, against the first arm, the paired difference over the test problems."""
    arms = list(results)
    problems = next(iter(results.values()))[1]
    groups = {task: [p.prompt_id for p in problems if p.task == task] for task in sorted({p.task for p in problems})}
    test = [p.prompt_id for p in problems if p.split == Split.TEST]
    lines = [f"| | {' | '.join(arms)} |", "|---|" + "---:|" * len(arms)]
    for name, ids in [
        *((f"{task} ({len(ids)})", ids) for task, ids in groups.items()),
        (f"**test ({len(test)})**", test),
    ]:
        cells = [f"{fmean(results[arm][0][i] for i in ids):.3f}" for arm in arms]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    first = results[arms[0]][0]
    gains = [gain_of([results[arm][0][i] - first[i] for i in test]) for arm in arms[1:]]
    lines.append(f"| {' | '.join([f'against {arms[0]}, points [95%]', '', *map(_points, gains)])} |")
    steps = [results[arm][2] for arm in arms]
    lines.append(f"| CPU seconds a step | {' | '.join(f'{step:.3f}' for step in steps)} |")
    return "\n".join(lines)


def _points(gain: Gain) -> str:
    return f"{100 * gain.mean:+.1f} [{100 * gain.low:+.1f}, {100 * gain.high:+.1f}]"


if __name__ == "__main__":
    main()
