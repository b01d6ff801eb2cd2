"""Refinement rollouts by vLLM against transformers, in the training process: tokens per second, the sides in turn.

    PYTHONPATH=platform:tests python tests/benchmarks/speed/rollout_speed.py --rounds 3

As GRPO requests them: the model as trained, in float32, and groups of eight completions per prompt at temperature 1.
The weights are handed to vLLM before each call, which is timed separately and included. Transformers answers all
prompts at once.
"""

import argparse
import time
from statistics import median

from stillery.config import EngineConfig, SftConfig
from stillery.problems.buckets import Bucket
from stillery.records import Message
from stillery.sampling.chat.checkpoint import stops_of
from stillery.sampling.chat.conversation import open_conversation, student_format
from stillery.sampling.models import resolve_model
from stillery.tiny_models.evaluate import problems_for
from stillery.training.generation import CompletionSampler, Sampling, TransformersSampler
from stillery.training.refine.rollouts import VllmSampler

GROUP = 8


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--student", default="embedded:student")
    parser.add_argument("--completions", type=int, nargs="+", default=[32, 128])
    parser.add_argument("--max-tokens", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parsed = parser.parse_args()
    import torch
    from transformers import AutoModelForCausalLM

    torch.set_num_threads(parsed.threads)
    path = resolve_model(parsed.student)
    model = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32).train()
    conversation = open_conversation(student_format(SftConfig(student=parsed.student)), key="sft.student")
    tokenizer = conversation.tokenizer
    sampling = Sampling(
        temperature=1.0, max_tokens=parsed.max_tokens, stop_token_ids=stops_of(parsed.student, tokenizer), seed=0
    )
    engine = EngineConfig(threads=parsed.threads, engine={"max_model_len": 512 + parsed.max_tokens})
    problems = problems_for(Bucket.DISTILL, per_task=max(parsed.completions) // GROUP, seed=0)
    sides: dict[str, CompletionSampler] = {
        "vLLM": VllmSampler(path, engine, sampling=sampling, model=lambda: model),
        "transformers": TransformersSampler(
            sampling=sampling, model=lambda: model, pad_token_id=tokenizer.pad_token_id,
            batch_size=max(parsed.completions),
        ),
    }  # fmt: skip
    print("| completions | round | side | tokens | seconds | of them weights | tokens/s |")
    print("|---|---|---|---|---|---|---|")
    for count in parsed.completions:
        chosen = problems[:: len(problems) * GROUP // count][: count // GROUP]
        texts = [conversation.render([Message("user", problem.question)], ask=True) for problem in chosen]
        rendered = [tokenizer(text, add_special_tokens=False)["input_ids"] for text in texts]
        prompts = [prompt for prompt in rendered for _ in range(GROUP)]
        rates: dict[str, list[float]] = {name: [] for name in sides}
        for number in range(parsed.rounds):
            for name, sampler in sides.items():
                began = time.perf_counter()
                sampler.sync_weights()
                synced = time.perf_counter() - began
                made = sampler.generate(prompts, draw=f"round {number}")
                seconds = time.perf_counter() - began
                tokens = sum(len(completion.tokens) for completion in made)
                rates[name].append(tokens / seconds)
                figures = f"{tokens} | {seconds:.1f} | {synced:.2f} | {rates[name][-1]:.0f}"
                print(f"| {count} | {number + 1} | {name} | {figures} |", flush=True)
        ratios = [ours / theirs for ours, theirs in zip(rates["vLLM"], rates["transformers"], strict=True)]
        shown = f"{median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
        print(f"| {count} | | vLLM over transformers | | | | {shown} |", flush=True)


if __name__ == "__main__":
    main()
