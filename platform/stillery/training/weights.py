"""Weighted token loss: from the spans of a sample's completion to its tokens, and into TRL's loss.

In: `Sample.weights`, (start, end, weight) spans of characters; rows in tokens with `loss_weights`. Out: a weight per
token; a trainer whose loss is the sum of the weighted losses over the number of tokens that it falls on. With every
weight 1 that is TRL's own loss to the last bit; a token of weight 0 has the label -100 and adds no loss.
"""

import dataclasses
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pyarrow.parquet as pq

from stillery.errors import UserError
from stillery.io.storage import Folder
from stillery.records import Sample
from stillery.sampling.chat.conversation import ChatRow, Conversation, bare
from stillery.thinking import split_thinking

COLUMN = "loss_weights"


def has_weights(samples: Folder) -> bool:
    """Whether a sample of the folder has loss weights; only that column is read."""
    for name in samples.names(".parquet"):
        with samples.open_file(name) as source:
            for batch in pq.ParquetFile(source).iter_batches(columns=["weights"]):
                if any(batch.column(0).to_pylist()):
                    return True
    return False


def token_weights(conversation: Conversation, row: ChatRow, sample: Sample) -> list[float]:
    """The weight of each token of a row's completion: the mean over its characters, without white space; 0 as soon as
    one of them is 0.

    Spans count from the beginning of the completion's content. Tags and tokens that the chat template adds weigh 1.
    """
    characters = _character_weights(row, sample)
    found = conversation.tokenizer([row.completion], add_special_tokens=False, return_offsets_mapping=True)
    weights: list[float] = []
    for start, end in found["offset_mapping"][0]:
        inside = [characters[i] for i in range(start, end) if not row.completion[i].isspace()] or characters[start:end]
        mean = sum(inside) / len(inside) if inside else 1.0
        weights.append(0.0 if 0.0 in inside else mean)
    return weights


def _character_weights(row: ChatRow, sample: Sample) -> list[float]:
    """The weight of each character of a row's completion as it is rendered. The template may have changed the white
    space, and may have put the beginning of the content into the prompt."""
    content = "".join(message.content for message in sample.completion)
    of_content = [1.0] * len(content)
    for start, end, weight in sample.weights:
        of_content[int(start) : int(end)] = [float(weight)] * (min(int(end), len(content)) - int(start))
    black = [weight for character, weight in zip(content, of_content, strict=True) if not character.isspace()]
    begins = (bare(row.prompt) + bare(row.completion)).rfind(bare(content)) - len(bare(row.prompt))
    weights: list[float] = []
    position = -begins
    for character in row.completion:
        if character.isspace():
            # Same as the character before it.
            weights.append(weights[-1] if weights else 1.0)
        else:
            weights.append(black[position] if 0 <= position < len(black) else 1.0)
            position += 1
    return weights


def check_weighted(trl: dict[str, Any], conversation: Conversation) -> None:
    """Raise UserError where samples have weights, or attention targets, and the training does not support them."""
    if trl.get("loss_type", "nll") != "nll" or trl.get("label_smoothing_factor"):
        raise UserError(
            "samples have weights or attention targets, which need sft.trl.loss_type=nll and no "
            "sft.trl.label_smoothing_factor"
        )
    if not conversation.tokenizer.is_fast:
        raise UserError(
            "samples have weights or attention targets, which need a fast tokenizer (tokenizer.json); save the student "
            "with one"
        )


def weigh_answer(sample: Sample, weight: float) -> Sample:
    """The sample with this weight on the text after its last thinking, replacing earlier weights there; unchanged where
    it has no thinking or no answer."""
    content = sample.completion[-1].content
    found = split_thinking(content)
    answer = found.tail.strip()
    if weight == 1 or not found.hidden or not answer:
        return sample
    end = sum(len(message.content) for message in sample.completion)
    start = end - len(content) + content.index(answer, found.tail_start)
    # Of two overlapping spans the later one counts.
    return replace(sample, weights=[*sample.weights, [float(start), float(start + len(answer)), weight]])


def masked_labels(labels: Sequence[int], weights: Sequence[float]) -> list[int]:
    """Labels with -100 where the weight is 0."""
    return [-100 if weight == 0 else label for label, weight in zip(labels, weights, strict=True)]


def weighted_rows(rows: Any, arguments: Any, *, packing: bool, beside: Sequence[str] = ()) -> Any:
    """The rows that TRL's own preparation would make of rows in tokens, with their weights and the columns `beside`
    kept."""
    from trl import pack_dataset

    rows = rows.select_columns(["input_ids", "labels", COLUMN, *beside])
    if arguments.shuffle_dataset:
        rows = rows.shuffle(seed=arguments.seed)
    if packing:
        rows = pack_dataset(rows, arguments.max_length, arguments.packing_strategy)
        rows = rows.shuffle(seed=arguments.seed) if arguments.shuffle_dataset else rows
    return rows


def weighted_trainer(*, mean_weight: float) -> type[Any]:
    """TRL's SFTTrainer over rows with `loss_weights`, divided by their mean over the tokens that the loss falls on:
    only relative weights matter. The validation loss is not weighted."""
    from trl import SFTTrainer

    class WeightedTrainer(SFTTrainer):
        def __init__(self, *positional: Any, **named: Any) -> None:
            super().__init__(*positional, **named)
            own: Any = self.data_collator
            settings = {field.name: getattr(own, field.name) for field in dataclasses.fields(own)}
            self.data_collator: Any = weighted_collator()(**settings)

        def _set_signature_columns_if_needed(self) -> None:
            super()._set_signature_columns_if_needed()
            columns: list[str] = self._signature_columns or []
            self._signature_columns: Any = [*columns, COLUMN] if COLUMN not in columns else columns

        def compute_loss(self, model: Any, inputs: dict[str, Any], *positional: Any, **named: Any) -> Any:
            weights = inputs.pop(COLUMN)[:, 1:] / mean_weight

            def weighted(**given: Any) -> Any:
                found = model(**given)
                found.log_probs = found.log_probs * weights
                return found

            trained: Any = self.model
            called: Any = weighted if trained.training else model
            return super().compute_loss(called, inputs, *positional, **named)

    return WeightedTrainer


def weighted_collator() -> type[Any]:
    """TRL's collator of token rows, with their weights padded beside them."""
    import torch
    from trl.trainer.sft_trainer import DataCollatorForLanguageModeling

    class WeightedCollator(DataCollatorForLanguageModeling):
        def torch_call(self, examples: list[dict[str, Any]]) -> dict[str, Any]:
            batch: dict[str, Any] = super().torch_call(examples)
            rows = [example[COLUMN] for example in examples]
            if self.padding_free:
                rows = [[weight for row in rows for weight in row]]
            weights = torch.ones(batch["input_ids"].shape, dtype=torch.float32)
            for number, row in enumerate(rows):
                weights[number, : len(row)] = torch.tensor(row)
            return batch | {COLUMN: weights}

    return WeightedCollator
