"""Does training on structure, or refining, help a student? Arms that differ in one thing, on one curated set, in turn
in one process.

    PYTHONPATH=platform:tests python tests/benchmarks/conformance/structure_arms.py --run RUN --samples 600 --epochs 4

RUN is a finished run's folder (`~/.stillery/runs/demo`), whose curated samples, generations and problems are reused.

    plain       fine-tuning on the texts: the baseline of the others
    weighted    a loss weighted by bonds                        teacher    attention drawn to the teacher's
    bonds       attention drawn to the bonds                    dealt      … to randomly reassigned bonds, a control
    tagged      questions that name the trace's bonds, half of them; asked without a tag, and with one (`tag asked`)
    topk        distilled from the teacher's most likely tokens, from a forward pass over its samples
    grpo, dpo, distill    the plain student refined: rewards, pairs, the teacher on the student's own completions

All fine-tuned arms start from the same student and see the same rows in the same order; the refined ones start from the
plain student and end at their last step. The test problems are sampled with the same seeds. Prints pass@1 by task, the
paired difference to plain with its 95% interval, and CPU seconds. `topk` and `distill` need a teacher with the
student's vocabulary; otherwise they are left out, with a message. Without Ray: the comparison is of what is learnt,
with the stages' trainers.
"""

import argparse
import gc
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from stillery.config import AttentionConfig, RefineConfig, SftConfig
from stillery.curation.bond_tags import bond_tag
from stillery.errors import UserError
from stillery.io.storage import Folder
from stillery.records import Generation, Message, Prompt, Sample, Split
from stillery.sampling.adapters import quiet_peft
from stillery.sampling.chat.conversation import Conversation, open_conversation, student_format
from stillery.sampling.models import resolve_model
from stillery.stages.refine import worker_config
from stillery.training.attention.checks import layer_of
from stillery.training.attention.transfer import MASSES, SOURCES, Transfer, transfer_trainer
from stillery.training.data import keep_shards, open_shards, prepare_file
from stillery.training.distillation.columns import TOP_IDS, TOP_LOGPROBS
from stillery.training.distillation.loss import Distillation, distilling
from stillery.training.distillation.vocabularies import check_vocabularies
from stillery.training.loop import trl_arguments
from stillery.training.refine.data import lengths_of, write_pairs, write_problems
from stillery.training.refine.loop import TRAINERS
from stillery.training.weights import weighted_rows, weighted_trainer
from support.arm_data import FILE, TEACHER, changed, scores_of, targets_of
from support.arm_measure import Measure, table

TUNED = ("plain", "weighted", "teacher", "bonds", "dealt", "tagged", "topk")
REFINED = ("grpo", "dpo", "distill")
ASKED = "tag asked"
# Of DPO the strength of the pull back, of distillation the divergence: 1 is the reverse KL.
BETA = {"dpo": 0.1, "distill": 1.0}
TAG = bond_tag(reflecting=1, exploring=0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--student", default="embedded:student")
    parser.add_argument("--arms", nargs="*", default=(*TUNED, *REFINED), choices=(*TUNED, *REFINED))
    parser.add_argument("--samples", type=int, default=600)
    parser.add_argument("--epochs", type=float, default=4)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--learning-rate", type=float, help="default: 4e-3 for the embedded student, else 1e-4")
    parser.add_argument("--refine-rate", type=float, help="of grpo, dpo and distill half; default: 1e-4, or else 1e-5")
    parser.add_argument("--bond-weight", type=float, default=0.5)
    parser.add_argument("--bond-tags", type=float, default=0.5)
    parser.add_argument("--distill-weight", type=float, default=0.5)
    parser.add_argument("--weight", type=float, default=0.1, help="of attention transfer")
    parser.add_argument("--steps", type=int, default=30, help="of grpo; distill takes as many, dpo twice as many")
    parser.add_argument("--completions", type=int, default=128, help="of a step of grpo; distill takes half")
    parser.add_argument("--micro-batch", type=int, default=64, help="rows at once of grpo, dpo and distill")
    parser.add_argument("--problems", type=int, help="test problems at most, spread over them")
    parser.add_argument("--answers", type=int, default=4, help="samples of each test problem")
    parser.add_argument("--max-tokens", type=int, default=512, help="of an answer")
    parser.add_argument("--bf16", action="store_true", help="train in bfloat16, where the CPU has it")
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


def arms_of(parsed: argparse.Namespace) -> list[str]:
    """The arms to run, the plain one first: without those that need the teacher's vocabulary where it is another."""
    wanted = list(dict.fromkeys(["plain", *parsed.arms]))
    try:
        check_vocabularies(TEACHER, parsed.student, key="topk, distill", instead="left out")
    except UserError as error:
        print(error, flush=True)
        return [arm for arm in wanted if arm not in ("topk", "distill")]
    return wanted


def run_arms(parsed: argparse.Namespace, scratch: Path) -> Iterator[tuple[str, Any]]:
    """Each arm's right answers by problem, the problems, and its CPU seconds a step."""
    tables = {name: stage_folder(parsed.run, name) for name in ("prompts", "generate", "verify", "curate")}
    samples = some_of(tables["curate"], parsed.samples)
    wanted = {sample.sample_id for sample in samples}
    generations = Folder(str(scratch / "generations"))
    rows = (g for name in tables["generate"].names(".parquet") for g in tables["generate"].read_rows(name, Generation))
    generations.write_rows("generations-00000.parquet", [g for g in rows if g.sample_id in wanted], Generation)
    conversation = open_conversation(student_format(SftConfig(student=parsed.student)), key="sft.student")
    all_problems = tables["prompts"].read_rows("prompts.parquet", Prompt)
    problems = [p for p in all_problems if p.split in (Split.TEST, Split.HELD_OUT)]
    if parsed.problems is not None and parsed.problems < len(problems):
        problems = [problems[n * len(problems) // parsed.problems] for n in range(parsed.problems)]
    held: dict[str, Any] = {}
    measure = Measure(problems, conversation, parsed=parsed, model=lambda: held["trainer"].model)
    for arm in arms_of(parsed):
        folder = scratch / arm
        began = time.perf_counter()
        held.clear()
        gc.collect()
        if arm in REFINED:
            trainer = refiner_of(arm, tables, conversation, parsed=parsed, student=scratch / "student", folder=folder)
            held["trainer"] = trainer
            if arm != "dpo":
                trainer.sample_with(measure.sampler)
        else:
            trainer = held["trainer"] = trainer_of(arm, samples, generations, parsed=parsed, folder=folder)
        prepared = time.perf_counter() - began
        if arm == "plain":
            print(f"untouched: pass@1 {fmean(measure.rates().values()):.3f}", flush=True)
        began = time.process_time()
        trainer.train()
        seconds = time.process_time() - began
        rates = measure.rates()
        tell(arm, trainer, f"{prepared:.0f} s prepared, {seconds:.0f} CPU s trained", rates)
        yield arm, (rates, problems, seconds / trainer.state.global_step)
        if arm == "plain":
            trainer.model.save_pretrained(scratch / "student")
            conversation.tokenizer.save_pretrained(scratch / "student")
        if arm == "tagged":
            rates = measure.rates(tag=TAG)
            print(f"{ASKED}: pass@1 {fmean(rates.values()):.3f} with {TAG.strip()}", flush=True)
            yield ASKED, (rates, problems, seconds / trainer.state.global_step)


def tell(arm: str, trainer: Any, took: str, rates: dict[str, float]) -> None:
    """Print what an arm came to, with the first and last of what its history has."""
    history, told = trainer.state.log_history, [f"{arm}: {trainer.state.global_step} steps"]
    for key in ("loss", "attention_kl", "distill_kl", "reward", "kl", "completions/mean_length", "rewards/margins"):
        if values := [row[key] for row in history if row.get(key) is not None]:
            told.append(f"{key} {values[0]:.3f} to {values[-1]:.3f}")
    print(", ".join([*told, took, f"pass@1 {fmean(rates.values()):.3f}"]), flush=True)


def some_of(curated: Folder, num: int) -> list[Sample]:
    """So many of the samples that train, spread over all."""
    rows = [s for s in curated.read_all(Sample).to_pylist() if s["split"] == Split.TRAIN]
    chosen = rows[:: max(1, len(rows) // num)][:num]
    return [_revived(row) for row in chosen]


def _revived(row: dict[str, Any]) -> Sample:
    messages = {key: [Message(**message) for message in row[key]] for key in ("prompt", "completion")}
    return Sample(**{**row, **messages})


def trainer_of(
    arm: str, samples: Sequence[Sample], generations: Folder, *, parsed: argparse.Namespace, folder: Path
) -> Any:
    """The trainer of an arm that is fine-tuned, with its data prepared as the stages do it."""
    from transformers import AutoTokenizer, PrinterCallback
    from trl import SFTConfig, SFTTrainer

    config = SftConfig(student=parsed.student, trl={"max_length": 768})
    shards, data = Folder(str(folder / "samples")), Folder(str(folder / "data"))
    shards.write_rows(FILE, [changed(arm, sample, parsed=parsed) for sample in samples], Sample)
    targets = scores = None
    if arm in ("teacher", "bonds", "dealt"):
        targets = targets_of(arm, shards, generations, out=Folder(str(folder / "targets")), parsed=parsed)
    if arm == "topk":
        scores = scores_of(generations, Folder(str(folder / "scores")))
    needs_weights = arm not in ("plain", "tagged")
    prepared = prepare_file(
        FILE, config=config, chat=student_format(config), samples=shards, data=data, weighted=needs_weights,
        targets=targets, scores=scores,
    )  # fmt: skip
    keep_shards(data, "train", folder / "train.arrow")
    rows = open_shards(folder / "train.arrow")
    rate = parsed.learning_rate or (4e-3 if parsed.student == "embedded:student" else 1e-4)
    num_steps = int(parsed.epochs * len(samples) / parsed.batch)
    settings = {
        "num_train_epochs": parsed.epochs, "per_device_train_batch_size": parsed.batch, "learning_rate": rate,
        "adam_beta2": 0.95, "lr_scheduler_type": "cosine", "warmup_steps": min(20, num_steps // 7),
        "weight_decay": 0.01, "save_strategy": "no", "logging_steps": 5, "bf16": parsed.bf16,
    }  # fmt: skip
    trl = trl_arguments({"trl": settings, "use_gpu": False, "seed": parsed.seed}, has_validation=False)
    arguments = SFTConfig(output_dir=str(folder / "out"), **trl)
    kind: Any = SFTTrainer
    if needs_weights:
        arguments.dataset_kwargs = {"skip_prepare_dataset": True}
        beside = [*([] if targets is None else (SOURCES, MASSES)), *([] if scores is None else (TOP_IDS, TOP_LOGPROBS))]
        rows = weighted_rows(rows, arguments, packing=False, beside=beside)
        mean = prepared.weight / prepared.num_tokens
        kind = weighted_trainer(mean_weight=mean)
        if targets is not None:
            layer, scale = layer_of(AttentionConfig(), parsed.student), prepared.num_tokens / prepared.mass
            kind = transfer_trainer(Transfer(parsed.weight, 2 / 3, layer, scale), mean_weight=mean)
        if scores is not None:
            kind = distilling(kind, Distillation(parsed.distill_weight, 1.0))
            print(f"topk: {prepared.num_scored / prepared.num_tokens:.1%} of the tokens have alternatives", flush=True)
    student = resolve_model(config.student)
    trainer = kind(
        model=student, args=arguments, train_dataset=rows, processing_class=AutoTokenizer.from_pretrained(student)
    )
    trainer.remove_callback(PrinterCallback)
    return trainer


def refiner_of(
    arm: str, tables: dict[str, Folder], conversation: Conversation, *, parsed: argparse.Namespace, student: Path,
    folder: Path,
) -> Any:  # fmt: skip
    """The trainer of an arm that is refined, without validations: it ends at its last step."""
    from transformers import PrinterCallback

    batch = {"grpo": parsed.completions, "distill": max(1, parsed.completions // 2), "dpo": 16}[arm]
    each = min(batch, parsed.micro_batch)
    trl: dict[str, Any] = {"per_device_train_batch_size": each, "gradient_accumulation_steps": batch // each}
    trl |= {"bf16": parsed.bf16}
    rate = parsed.refine_rate or (1e-4 if parsed.student == "embedded:student" else 1e-5)
    trl |= {"learning_rate": rate} if arm == "grpo" else {"learning_rate": rate / 2, "beta": BETA[arm]}
    config = RefineConfig(
        enabled=True, method=arm, steps=parsed.steps * (2 if arm == "dpo" else 1), num_generations=min(8, batch),
        max_completion_length=parsed.max_tokens, rollouts="transformers", threads=parsed.threads, trl=trl,
    )  # fmt: skip
    out = Folder(str(folder))
    read = {"prompts": tables["prompts"], "generations": tables["generate"], "verdicts": tables["verify"]}
    lengths = lengths_of(**read) if arm == "grpo" else {}
    write_problems(conversation, prompts=tables["prompts"], data=out / "data", lengths=lengths)
    if arm == "dpo":
        num = write_pairs(conversation, **read, data=out / "data", most=2, max_length=None)
        print(f"dpo: {num} pairs", flush=True)
    told = worker_config(config, student=str(student), teacher=TEACHER, seed=parsed.seed, out=out)
    trainer, _ = TRAINERS[arm](told, str(student), folder / "out")
    trainer.remove_callback(PrinterCallback)
    return trainer


if __name__ == "__main__":
    main()
