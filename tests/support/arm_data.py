"""Training inputs of an arm of `structure_arms` besides the texts: weights, tags, attention targets, top
log-probabilities."""

import argparse
import dataclasses
import random
from typing import Any

from stillery.bonds import analyze
from stillery.config import AttentionConfig, CurateConfig
from stillery.curation.bond_tags import tagged
from stillery.curation.weights import weights_of
from stillery.io.storage import Folder
from stillery.records import AttentionTarget, Generation, Sample, ScoredGeneration, to_table
from stillery.sampling.chat.conversation import load_tokenizer
from stillery.sampling.models import resolve_model
from stillery.sampling.stored_logprobs import write_scores
from stillery.sampling.top_logprobs import collect
from stillery.training.attention.files import calibrate, targets_name, write_targets

FILE = "samples-00000.parquet"
TEACHER = "embedded:teacher"
NUM_TOP = 20


def changed(arm: str, sample: Sample, *, parsed: argparse.Namespace) -> Sample:
    """The sample with the weights or the tag that curation would give it for this arm."""
    if arm not in ("weighted", "tagged"):
        return sample
    molecule = analyze(sample.completion[0].content, question=sample.prompt[0].content, markers=False)
    if arm == "tagged":
        return tagged(sample, molecule, share=parsed.bond_tags, seed=parsed.seed)
    return dataclasses.replace(sample, weights=weights_of(CurateConfig(bond_weight=parsed.bond_weight), molecule))


def targets_of(arm: str, samples: Folder, generations: Folder, *, out: Folder, parsed: argparse.Namespace) -> Folder:
    config = AttentionConfig(target="teacher" if arm == "teacher" else "bonds", weight=parsed.weight)
    given: dict[str, Any] = {
        "teacher": resolve_model(TEACHER) if arm == "teacher" else None, "samples": samples, "generations": generations,
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


def scores_of(generations: Folder, out: Folder) -> Folder:
    """The teacher's most likely tokens at each token of its samples, in the format of `teacher.top_logprobs` with
    vLLM."""
    import torch
    from transformers import AutoModelForCausalLM

    tokenizer = load_tokenizer(TEACHER, key="teacher.model")
    loaded: Any = AutoModelForCausalLM
    model: Any = loaded.from_pretrained(resolve_model(TEACHER), dtype=torch.float32).eval()
    (name,) = generations.names(".parquet")
    scored: list[ScoredGeneration] = []
    for row in generations.read_rows(name, Generation):
        prompt, tokens = tokenizer([row.rendered, row.completion], add_special_tokens=False)["input_ids"]
        tokens += [tokenizer.eos_token_id] if row.finish_reason == "stop" else []
        with torch.no_grad():
            logits = model(input_ids=torch.tensor([prompt + tokens])).logits[0, len(prompt) - 1 : -1]
        found = torch.log_softmax(logits, dim=-1).topk(NUM_TOP)
        pairs = zip(found.indices.tolist(), found.values.tolist(), strict=True)
        top = collect(tokens, [list(zip(*pair, strict=True)) for pair in pairs], k=NUM_TOP)
        fields = {f.name: getattr(row, f.name) for f in dataclasses.fields(row)}
        scored.append(ScoredGeneration(**fields, top=top))
    write_scores(out, name, to_table(scored, ScoredGeneration))
    return out
