"""Does a student that reasons correctly but answers otherwise gain from a loss with a higher weight on answers?

    PYTHONPATH=platform:tests python tests/benchmarks/conformance/answer_weight.py --run RUN --weights 1 4

RUN is a finished run's folder (`~/.stillery/runs/demo`), whose curated samples are trained on, from the base or, with
`--more`, from the run's own student. One arm per weight: the same rows in the same order. Measured at temperature 1, by
transformers, on problems of the validation bucket drawn with another seed. Prints pass@1 by task with its standard
error. Without Ray and engines.
"""

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from stillery.config import SftConfig
from stillery.io.storage import Folder
from stillery.problems.buckets import Bucket
from stillery.records import Message, Sample
from stillery.sampling.chat.conversation import open_conversation, student_format
from stillery.sampling.models import resolve_model
from stillery.tiny_models.evaluate import problems_for
from stillery.training.data import keep_shards, open_shards, prepare_file
from stillery.training.generation import Sampling, TransformersSampler
from stillery.training.loop import trl_arguments
from stillery.training.problems import StudentProblem
from stillery.training.validation import Validation
from stillery.training.weights import weighted_rows, weighted_trainer

FILE = "samples-00000.parquet"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--weights", type=float, nargs="+", default=[1.0, 4.0])
    parser.add_argument("--answer-only-tasks", nargs="*", default=[], help="tasks that are learnt without their traces")
    parser.add_argument("--more", action="store_true", help="train the run's student on, not the base")
    parser.add_argument("--epochs", type=float, default=9)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--learning-rate", type=float, default=4e-3)
    parser.add_argument("--problems", type=int, default=20, help="of each task")
    parser.add_argument("--answers", type=int, default=2, help="to each problem")
    parser.add_argument("--max-tokens", type=int, default=300)
    parser.add_argument("--threads", type=int, default=1)
    parsed = parser.parse_args()
    import torch
    import transformers

    transformers.utils.logging.disable_progress_bar()
    torch.set_num_threads(parsed.threads)
    (finished,) = (parsed.run / "stages" / "sft").glob("*/checkpoint")
    student = str(finished) if parsed.more else resolve_model("embedded:student")
    problems = asked(parsed.problems)
    tasks = sorted({problem.task for problem in problems})
    print(f"| arm | last loss | all | {' | '.join(tasks)} |\n|---|---|---|{'---|' * len(tasks)}", flush=True)
    for number, weight in enumerate(parsed.weights):
        trainer = trained(student, weight, parsed=parsed)
        if number == 0:
            print(line("before", "", problems, rates_of(trainer, problems, parsed), tasks), flush=True)
        trainer.train()
        last = [row["loss"] for row in trainer.state.log_history if "loss" in row][-1]
        rates = rates_of(trainer, problems, parsed)
        print(line(f"answers x {weight:g}", f"{last:.3f}", problems, rates, tasks), flush=True)


def asked(count: int) -> list[StudentProblem]:
    """Problems of the validation bucket, of every task; with a seed that no run has."""
    conversation = open_conversation(student_format(SftConfig()), key="sft.student")
    return [
        StudentProblem(
            str(number), p.task, p.question, p.answer, p.answer_kind, list(p.choices), p.num_steps,
            conversation.render([Message("user", p.question)], ask=True),
        )
        for number, p in enumerate(problems_for(Bucket.VALIDATION, per_task=count, seed=7919))
    ]  # fmt: skip


def trained(student: str, weight: float, *, parsed: argparse.Namespace) -> Any:
    """The trainer of an arm; every arm is weighted, so that they differ in the weight alone."""
    from transformers import AutoTokenizer, PrinterCallback
    from trl import SFTConfig

    (curated,) = (parsed.run / "stages" / "curate").glob("*/")
    samples = Folder(str(curated))
    short = list(parsed.answer_only_tasks)
    config = SftConfig(student=student, answer_weight=weight, answer_only_tasks=short, trl={"max_length": 768})
    folder = Path(tempfile.mkdtemp(prefix="answer-weight-"))
    data = Folder(str(folder / "data"))
    names = [name for name in samples.names(".parquet") if name.startswith("samples-")]
    rows = [row for name in names for row in samples.read_rows(name, Sample)]
    (Folder(str(folder)) / "samples").write_rows(FILE, rows, Sample)
    shards = Folder(str(folder / "samples"))
    prepared = prepare_file(FILE, config=config, chat=student_format(config), samples=shards, data=data, weighted=True)
    keep_shards(data, "train", folder / "train.arrow")
    settings = {
        "num_train_epochs": parsed.epochs, "per_device_train_batch_size": parsed.batch,
        "learning_rate": parsed.learning_rate, "adam_beta2": 0.95, "lr_scheduler_type": "cosine", "warmup_steps": 20,
        "weight_decay": 0.01, "save_strategy": "no", "logging_steps": 10,
    }  # fmt: skip
    arguments = SFTConfig(
        output_dir=str(folder / "out"),
        **trl_arguments({"trl": settings, "use_gpu": False, "seed": 0}, has_validation=False),
    )
    arguments.dataset_kwargs = {"skip_prepare_dataset": True}
    trainer = weighted_trainer(mean_weight=prepared.weight / prepared.num_tokens)(
        model=student,
        args=arguments,
        train_dataset=weighted_rows(open_shards(folder / "train.arrow"), arguments, packing=False),
        processing_class=AutoTokenizer.from_pretrained(student),
    )
    trainer.remove_callback(PrinterCallback)
    return trainer


def rates_of(trainer: Any, problems: Sequence[StudentProblem], parsed: argparse.Namespace) -> list[float]:
    """Each problem's share of right answers. The draws of every arm begin with the same random state."""
    import torch

    tokenizer = trainer.processing_class
    stops = (tokenizer.eos_token_id,)
    sampler = TransformersSampler(
        sampling=Sampling(1.0, parsed.max_tokens, stops, 0),
        model=lambda: trainer.model,
        pad_token_id=tokenizer.pad_token_id,
        batch_size=128,
    )
    validation = Validation(problems, num_samples=parsed.answers, sampler=sampler, tokenizer=tokenizer, stops=stops)
    torch.manual_seed(0)
    rates, _ = validation.answer(problems, draw="measured")
    return [rate or 0.0 for rate in rates]


def line(name: str, last: str, problems: Sequence[StudentProblem], rates: Sequence[float], tasks: Sequence[str]) -> str:
    groups = [list(rates), *([r for p, r in zip(problems, rates, strict=True) if p.task == task] for task in tasks)]
    cells = [f"{fmean(group):.3f} ± {stdev(group) / len(group) ** 0.5:.3f}" for group in groups]
    return f"| {name} | {last} | {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
