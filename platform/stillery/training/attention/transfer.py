"""Attention transfer in the loss: rows of tokens with their attention targets, and a trainer whose loss moves the
student's attention towards them.

Beside `loss_weights` a row has two columns with one value per token: `attention_sources`, the source that the token
belongs to (0: none), and `attention_masses`: for a token whose next token begins an operand, the target masses on the
first sources, else empty. This keeps them in place under packing and padding, and in a packed row the attention mask
separates sources of the same number.
"""

import dataclasses
from dataclasses import dataclass
from typing import Any

from stillery.records import AttentionTarget, Sample
from stillery.sampling.chat.conversation import ChatRow, Conversation
from stillery.training.attention.alignment import align
from stillery.training.attention.drafts import texts_of
from stillery.training.weights import weighted_collator, weighted_trainer

SOURCES, MASSES = "attention_sources", "attention_masses"
QUERIES = "attention_queries"
_LEAST = 1e-8


@dataclass(frozen=True, slots=True)
class Transfer:
    """The scale of the term. `scale` is the number of training tokens that the loss falls on, divided by the weight of
    all rows: with it the term is a mean over rows, however they fall into batches."""

    weight: float
    anneal_until: float
    layer: int
    scale: float


def annealed(transfer: Transfer, *, step: int, of: int) -> float:
    """The weight of the term at a step, counted from 0: it falls linearly to 0."""
    return transfer.weight * max(0.0, 1 - step / (transfer.anneal_until * of)) if of else 0.0


def attention_columns(
    conversation: Conversation, row: ChatRow, sample: Sample, target: AttentionTarget
) -> dict[str, Any] | None:
    """The two columns of a row. None where the student's chat template changes the question or the completion."""
    question, content = texts_of(sample)
    aligned = align(
        conversation.tokenizer,
        prompt=row.prompt,
        completion=row.completion,
        question=question,
        content=content,
        sources=target.sources,
        operands=[(r.start, r.end, len(r.mass)) for r in target.rows],
    )
    if aligned is None:
        return None
    masses: list[list[float]] = [[] for _ in aligned.input_ids]
    present = set(aligned.sources)
    for asked, position in zip(target.rows, aligned.queries, strict=True):
        if position is None:
            continue
        # A source without tokens cannot be attended to; the others take its mass.
        seen = [mass if number in present else 0.0 for number, mass in enumerate(asked.mass, 1)]
        if sum(seen) > 0:
            masses[position] = [mass * sum(asked.mass) / sum(seen) for mass in seen]
    return {SOURCES: aligned.sources, MASSES: masses}


def transfer_trainer(transfer: Transfer, *, mean_weight: float) -> type[Any]:
    """The weighted trainer with the term added to its training loss: the sum over a batch's rows of their weight times
    KL(target || student), times `annealed` and `transfer.scale`, over the number of tokens that the loss falls on. The
    student's attention is the mean over the query heads of one key head. At weight 0 it is the weighted trainer's loss
    and gradient to the last bit; the validation loss is unchanged."""
    weighted: Any = weighted_trainer(mean_weight=mean_weight)

    class TransferTrainer(weighted):  # type: ignore[misc]
        def __init__(self, *positional: Any, **named: Any) -> None:
            from stillery.training.attention.readout import Readout

            super().__init__(*positional, **named)
            own: Any = self.data_collator
            settings = {field.name: getattr(own, field.name) for field in dataclasses.fields(own)}
            self.data_collator = transfer_collator()(**settings)
            config: Any = self.model.config.get_text_config(decoder=True)
            self._asked_heads = slice(0, query_heads(config))
            self._readout = Readout(self.model, layers=(transfer.layer,))

        def _set_signature_columns_if_needed(self) -> None:
            super()._set_signature_columns_if_needed()
            columns: list[str] = self._signature_columns or []
            self._signature_columns = [*columns, *(c for c in (SOURCES, MASSES) if c not in columns)]

        def compute_loss(
            self,
            model: Any,
            inputs: dict[str, Any],
            return_outputs: bool = False,
            num_items_in_batch: Any = None,
        ) -> Any:
            import torch

            sources, queries, masses = inputs.pop(SOURCES), inputs.pop(QUERIES), inputs.pop(MASSES)
            weight = annealed(transfer, step=self.state.global_step, of=self.state.max_steps)
            question = None
            if self.model.training and weight > 0 and len(queries):
                question = _question(queries, sources, masses, heads=self._asked_heads)
            self._readout.ask(question)
            labels = inputs["labels"]
            loss = super().compute_loss(
                model, inputs, return_outputs=return_outputs, num_items_in_batch=num_items_in_batch
            )
            if question is None:
                return loss
            divergence = divergence_of(question.masses[transfer.layer], masses, num_sources=queries[:, 2])
            self._metrics["train"]["attention_kl"].append((divergence.detach() / masses.sum()).item())
            num_tokens = (labels[:, 1:] != -100).sum() if num_items_in_batch is None else num_items_in_batch
            added = weight * transfer.scale * divergence / torch.as_tensor(num_tokens).clamp(min=1)
            if self.args.average_tokens_across_devices and num_items_in_batch is not None:
                # As in TRL: the tokens are those of every rank, and DDP averages the gradients.
                added = added * self.accelerator.num_processes
            return loss + added

        def training_step(self, *positional: Any, **named: Any) -> Any:
            loss = super().training_step(*positional, **named)
            # `backward` is done. Forward passes until the next step, such as samples for a log, are not read.
            self._readout.ask(None)
            return loss

    return TransferTrainer


def query_heads(config: Any) -> int:
    """The query heads that share a key head in a model with this config."""
    return config.num_attention_heads // (getattr(config, "num_key_value_heads", None) or config.num_attention_heads)


def _question(queries: Any, sources: Any, masses: Any, *, heads: slice) -> Any:
    from stillery.training.attention.readout import Question

    return Question(queries, sources, num_sources=masses.shape[1], heads=heads)


def divergence_of(attention: Any, masses: Any, *, num_sources: Any) -> Any:
    """The sum over rows of weight * KL(target || student). `attention` is the student's, of shape (heads, R, S), and
    `masses` (R, S) the targets' shares times the weight of each row, on its first `num_sources` (R,) sources."""
    import torch

    # A query may attend to the beginning of its own step, which is not one of the row's sources.
    before = torch.arange(masses.shape[1], device=masses.device) < num_sources[:, None]
    student = attention * before
    student = (student / student.sum(dim=-1, keepdim=True).clamp(min=_LEAST)).mean(dim=0)
    weights = masses.sum(dim=1, keepdim=True)
    terms = torch.xlogy(masses, masses / weights.clamp(min=_LEAST)) - masses * student.clamp(min=_LEAST).log()
    return terms.sum()


def transfer_collator() -> type[Any]:
    """The weighted collator, which also pads the sources beside the tokens and gathers the rows that have masses:
    `attention_queries` (R, 3) are their rows and positions in the batch and their numbers of sources,
    `attention_masses` (R, S) their masses."""
    import torch

    weighted: Any = weighted_collator()

    class TransferCollator(weighted):  # type: ignore[misc]
        def torch_call(self, examples: list[dict[str, Any]]) -> dict[str, Any]:
            batch: dict[str, Any] = super().torch_call(examples)
            sources = [example[SOURCES] for example in examples]
            masses = [example[MASSES] for example in examples]
            if self.padding_free:
                sources = [[source for row in sources for source in row]]
                masses = [[mass for row in masses for mass in row]]
            padded = torch.zeros(batch["input_ids"].shape, dtype=torch.long)
            queries: list[tuple[int, int, int]] = []
            found: list[list[float]] = []
            for number, (of_tokens, of_rows) in enumerate(zip(sources, masses, strict=True)):
                padded[number, : len(of_tokens)] = torch.tensor(of_tokens)
                for position, mass in enumerate(of_rows):
                    if mass:
                        queries.append((number, position, len(mass)))
                        found.append(mass)
            most = max((max(row, default=0) for row in sources), default=0)
            together = torch.zeros((len(found), max(most, max(map(len, found), default=0))))
            for number, mass in enumerate(found):
                together[number, : len(mass)] = torch.tensor(mass)
            asked = torch.tensor(queries, dtype=torch.long).reshape(-1, 3)
            return batch | {SOURCES: padded, QUERIES: asked, MASSES: together}

    return TransferCollator
