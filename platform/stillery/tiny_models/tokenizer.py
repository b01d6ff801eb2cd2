"""The tokenizer that teacher and student share: byte-level BPE of 1024 tokens, digits apart, a ChatML template.

The template's tags are one token each but not special, so that they survive detokenization.
"""

import random
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from stillery.problems.buckets import Bucket, draw
from stillery.tiny_models.traces import PROGRAMS, write_trace

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

VOCAB_SIZE = 1024
PAD, START, END = "<|endoftext|>", "<|im_start|>", "<|im_end|>"
PAD_ID, END_ID = 0, 2
TAGS = ("<think>", "</think>", "<answer>", "</answer>")

CHAT_TEMPLATE = (
    "{%- for message in messages %}"
    "{{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>' + '\\n' }}"
    "{%- endfor %}"
    "{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}"
)

# Qwen2's pattern, which edge runtimes know: every digit is a token of its own.
_PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_GENERAL = "You are a helpful assistant. The quick brown fox jumps over the lazy dog, and this is how it thinks."


def train_tokenizer(out: Path, *, problems_per_task: int = 1200, seed: int = 0) -> None:
    """Train on problems and traces of the training buckets, and write the tokenizer's files into `out`."""
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(  # type: ignore[assignment]
        [
            pre_tokenizers.Split(Regex(_PATTERN), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()  # type: ignore[assignment]
    trainer = trainers.BpeTrainer(
        vocab_size=VOCAB_SIZE - len(TAGS),
        special_tokens=[PAD, START, END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_texts(problems_per_task, seed), trainer)
    tokenizer.add_tokens([AddedToken(tag, special=False, normalized=False) for tag in TAGS])
    assert tokenizer.get_vocab_size() == VOCAB_SIZE, f"vocabulary of {tokenizer.get_vocab_size()}, not {VOCAB_SIZE}"
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token=None, eos_token=END, pad_token=PAD, model_max_length=2048,
        chat_template=CHAT_TEMPLATE, clean_up_tokenization_spaces=False,
    )  # fmt: skip
    out.mkdir(parents=True, exist_ok=True)
    fast.save_pretrained(out)
    _write_null_bos(out / "tokenizer_config.json")


def load_tokenizer(folder: Path) -> "PreTrainedTokenizerFast":
    """The tokenizer in a folder."""
    from transformers import PreTrainedTokenizerFast

    return PreTrainedTokenizerFast.from_pretrained(folder)


def render_prompt(question: str) -> str:
    """A question rendered by the chat template, up to where the answer begins."""
    return f"{START}user\n{question}{END}\n{START}assistant\n"


def _write_null_bos(path: Path) -> None:
    """Some runtimes read a missing key as an unknown token, and need an explicit null."""
    import json

    config = json.loads(path.read_text())
    path.write_text(json.dumps(config | {"bos_token": None}, indent=2, sort_keys=True) + "\n")


def _texts(problems_per_task: int, seed: int) -> Iterator[str]:
    """Text without the tags and markers, which are tokens already."""
    for task in PROGRAMS:
        for bucket in (Bucket.TEACHER_TRAIN, Bucket.BASE_TRAIN):
            for number, problem in enumerate(draw(bucket, task=task, count=problems_per_task, seed=seed)):
                yield problem.question
                trace = write_trace(problem, seed=random.Random(f"{seed}{number}").randrange(2**31))
                yield trace.text.split("\n", 1)[1].rsplit("\n</think>", 1)[0]
    for _ in range(problems_per_task // 10):
        yield f"user\n{_GENERAL}\nassistant\n{_GENERAL}\nsystem\n"
