"""Checks of a run before its first stage, and before the teacher costs anything.

No weights are loaded: a student is checked by its folder's headers and its chat template.
"""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from stillery.cluster import placement
from stillery.cluster.installation import check_torchvision
from stillery.config import Config, suggest
from stillery.config.passthrough import check_tables
from stillery.curation.checks import check_curation
from stillery.errors import UserError
from stillery.model_judge.checks import check_judge
from stillery.registry.naming import check_name
from stillery.sampling.backend import check_teacher_endpoint
from stillery.sampling.backends.recorded import check_columns
from stillery.sampling.chat.checkpoint import open_student
from stillery.sampling.chat.conversation import load_tokenizer, student_format
from stillery.sampling.chat.lengths import Lengths, check_limits
from stillery.sampling.hub import find_on_hub
from stillery.sampling.models import check_model, is_folder, is_remote, resolve_model
from stillery.sampling.top_logprobs import check_top_logprobs
from stillery.sampling.weights import check_context, check_files, check_trainable, check_vocabulary
from stillery.stages.export import check as check_export
from stillery.stages.prompts import trained_tasks
from stillery.telemetry.logs import logger
from stillery.training.accuracy import check_validation
from stillery.training.adapters import check_adapter
from stillery.training.adapters import check_settings as check_adapter_settings
from stillery.training.attention.checks import check_attention
from stillery.training.counts import check_elastic, check_most
from stillery.training.distillation.checks import check_distillation
from stillery.training.refine.checks import check_most as check_most_refined
from stillery.training.refine.checks import check_refinement
from stillery.training.weights import check_weighted
from stillery.verify.checks import check_verification


def check(config: Config, *, lengths: Sequence[Lengths] = ()) -> None:
    """Raises UserError for the first setting that cannot work. `lengths` are those of the samples that the teacher has
    already generated."""
    check_torchvision()
    check_tables(config)
    check_adapter_settings(config.sft)
    check_most(config)
    check_elastic(config.sft)
    check_validation(config)
    placement.check_config(config)
    check_verification(config)
    check_judge(config)
    check_curation(config)
    _check_teacher(config)
    _check_answer_only(config)
    check_model("sft.student", config.sft.student)
    check_refinement(config.refine, teacher=config.teacher, student=config.sft.student)
    check_most_refined(config)
    check_attention(config)
    check_distillation(config)
    check_export(config.export)
    check_name(config.register)
    check_limits(config, lengths)
    _check_student(config)


def _check_teacher(config: Config) -> None:
    teacher = config.teacher
    check_top_logprobs(teacher)
    if teacher.kind == "vllm":
        check_model("teacher.model", teacher.model)
    elif teacher.kind == "endpoint":
        check_teacher_endpoint(teacher)
    else:
        check_columns(teacher.recorded.columns, key="teacher.recorded.columns")


def _check_answer_only(config: Config) -> None:
    """A file's tasks are known only once it is read: the stage checks them then."""
    known = trained_tasks(config.prompts.tasks) if config.prompts.source == "tasks" else config.sft.answer_only_tasks
    for task in config.sft.answer_only_tasks:
        if task not in known:
            raise UserError(f"sft.answer_only_tasks: no task {task!r} is trained on{suggest(task, known)}")
    if config.sft.answer_only_tasks and config.sft.trl.get("train_sampling_strategy") == "group_by_length":
        logger.warning(
            "sft.answer_only_tasks with sft.trl.train_sampling_strategy=group_by_length: a batch of answers alone, a "
            "few tokens, takes as large a step as one of traces; random mixes them"
        )


def _check_student(config: Config) -> None:
    chat, named = student_format(config.sft), f"sft.student={config.sft.student}"
    if not is_folder(chat.model):
        found = find_on_hub("sft.student", chat.model)
        if found is None:
            logger.info(f"{named}: it is not here and the Hub cannot be reached, so it could not be checked")
            return
        chat = dataclasses.replace(chat, model=found)
    else:
        # The weights of a folder at a URI are checked where they are copied to.
        weights = not is_remote(chat.model)
        folder = Path(resolve_model(chat.model, weights=False))
        if weights:
            check_files(named, folder)
        check_trainable(named, folder, weights=weights)
        tokenizer = load_tokenizer(chat.model, key="sft.student")
        check_vocabulary(named, folder, tokenizer)
        check_context(named, folder, tokenizer, max_model_len=config.evaluate.engine.get("max_model_len"))
    source, student = resolve_model(chat.model, weights=False), config.sft.student
    check_adapter(config.sft.peft, source, key="sft.peft", student=student)
    if config.refine.enabled:
        check_adapter(config.refine.peft, source, key="refine.peft", student=student)
    conversation, end = open_student(chat)
    if config.sft.answer_weight != 1 or config.curate.bond_weight or config.curate.mask_corrected:
        check_weighted(config.sft.trl, conversation)
    if not end.is_stop:
        logger.info(
            f"{named}: its template ends an answer with {end.token}, at which generation does "
            "not stop; the trained student's end of sequence will be that"
        )
