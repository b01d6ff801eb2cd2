"""vLLM reasoning parser for `<think> … </think><answer> … </answer>`: a plug-in, loaded by path.

The thinking goes to `reasoning`, the content of the answer tags to `content`; the tags themselves are dropped.
"""

from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import Any

from vllm.entrypoints.generate.base.protocol import DeltaMessage
from vllm.reasoning.abs_reasoning_parsers import ReasoningParser, ReasoningParserManager

from stillery.serving.splitting import ThinkAnswerSplitter
from stillery.thinking import CLOSE_THINK, OPEN_THINK

NAME = "stillery"


class ThinkAnswerParser(ReasoningParser):
    """One completion's parser. vLLM calls it for every piece until the end, since it reports that reasoning never ends:
    the answer tags come after it."""

    engine_based_streaming = True

    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]
        self._splitter = ThinkAnswerSplitter()

    @property
    def reasoning_start_str(self) -> str:
        return OPEN_THINK

    @property
    def reasoning_end_str(self) -> str:
        return CLOSE_THINK

    def adjust_initial_state_from_prompt(self, prompt_token_ids: Sequence[int]) -> None:
        self._splitter = ThinkAnswerSplitter(prefilled=self._opened_by(prompt_token_ids))

    def _opened_by(self, prompt_token_ids: Sequence[int]) -> bool:
        end = self.model_tokenizer.decode(list(prompt_token_ids[-8:]))
        return end.rstrip().endswith(OPEN_THINK)

    def extract_reasoning(self, model_output: str, request: object) -> tuple[str | None, str | None]:
        # The prompt is not available here: a closing tag without an opening one means that the prompt held the opening
        # tag.
        start = model_output.lstrip()
        prefilled = CLOSE_THINK in start and not start.startswith(OPEN_THINK)
        splitter = ThinkAnswerSplitter(prefilled=prefilled)
        parts = (splitter.feed(model_output), splitter.finish())
        reasoning, content = ("".join(pieces) for pieces in zip(*parts, strict=True))
        return reasoning or None, content or None

    def extract_reasoning_streaming(
        self,
        previous_text: str,
        current_text: str,
        delta_text: str,
        previous_token_ids: Sequence[int],
        current_token_ids: Sequence[int],
        delta_token_ids: Sequence[int],
    ) -> DeltaMessage | None:
        return _message(*self._splitter.feed(delta_text))

    def finish_streaming(self) -> DeltaMessage | None:
        """vLLM's call, after the last piece, for the text that a parser holds back."""
        return _message(*self._splitter.finish())

    def count_reasoning_tokens(self, token_ids: Sequence[int]) -> int:
        """The tokens inside the think block, for the usage; 0 where its tags are not tokens of the vocabulary."""
        opening, closing = self._tags
        if closing is None or closing not in token_ids:
            return 0
        return token_ids.index(closing) - (opening in token_ids)

    @cached_property
    def _tags(self) -> list[int | None]:
        """The tokens of the opening and the closing tag; None for one that is not in the vocabulary."""
        unknown = getattr(self.model_tokenizer, "unk_token_id", None)
        tokens = (self.model_tokenizer.convert_tokens_to_ids(tag) for tag in (OPEN_THINK, CLOSE_THINK))
        return [None if token == unknown else token for token in tokens]

    def has_engine_confirmed_reasoning_end(self) -> bool:
        return False

    def is_reasoning_end(self, input_ids: Sequence[int]) -> bool:
        return False

    def is_reasoning_end_streaming(self, input_ids: Sequence[int], delta_ids: Iterable[int]) -> bool:
        return False

    def extract_content_ids(self, input_ids: list[int]) -> list[int]:
        return []


def _message(reasoning: str, content: str) -> DeltaMessage | None:
    # Unset fields are not sent.
    fields: dict[str, Any] = {name: text for name, text in (("reasoning", reasoning), ("content", content)) if text}
    return DeltaMessage(**fields) if fields else None


ReasoningParserManager.register_module(NAME, module=ThinkAnswerParser)
