"""Checks of a judge's settings before anything is sampled."""

from collections.abc import Mapping

from stillery.config import Config
from stillery.errors import UserError
from stillery.model_judge.judging import teacher_of
from stillery.records import AnswerKind
from stillery.sampling.backend import check_teacher_endpoint
from stillery.sampling.models import check_model


def check_judge(config: Config) -> None:
    """Raise UserError for a judge that cannot be used, or not in time."""
    judge = config.verify.judge
    if judge.kind not in ("none", "vllm", "endpoint"):
        raise UserError(f"verify.judge.kind is {judge.kind!r}; it must be none, vllm or endpoint")
    if judge.kind == "none":
        if judge.undecided:
            raise UserError("verify.judge.undecided needs a judge; set verify.judge.kind to vllm or endpoint")
        return
    if not judge.model:
        raise UserError("verify.judge.model is not set; name the model that judges")
    if config.teacher.accepted_per_prompt is not None:
        raise UserError(
            "teacher.accepted_per_prompt stops at accepted samples, which verify.judge tells only when all are there; "
            "unset one of them"
        )
    if judge.kind == "vllm":
        check_model("verify.judge.model", judge.model)
        return
    try:
        check_teacher_endpoint(teacher_of(judge))
    except UserError as error:
        raise UserError(str(error).replace("teacher.", "verify.judge.")) from None


def check_answer_kinds(config: Config, kinds: Mapping[str, int]) -> None:
    """Raise UserError where problems, counted by kind of answer, need a judge and there is none."""
    if (asking := kinds.get(AnswerKind.JUDGED, 0)) and config.verify.judge.kind == "none":
        raise UserError(
            f"{asking:,} problems have answers of kind judged, which only a model can check; set verify.judge.kind and "
            "verify.judge.model, or give the problems another answer_kind"
        )
