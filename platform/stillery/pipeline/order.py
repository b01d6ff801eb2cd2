"""The stages in the order in which they run."""

from stillery.stages import attention, bonds, curate, evaluate, export, prompts, refine, register, report, sft, verify
from stillery.stages.generate import stage as generate

STAGES = (
    prompts.STAGE,
    generate.STAGE,
    verify.STAGE,
    bonds.STAGE,
    curate.STAGE,
    attention.STAGE,
    sft.STAGE,
    refine.STAGE,
    evaluate.TEACHER_STAGE,
    evaluate.BEFORE_STAGE,
    evaluate.TUNED_STAGE,
    evaluate.STAGE,
    bonds.COMPARE_STAGE,
    register.STAGE,
    export.STAGE,
    report.STAGE,
)
