"""Request bodies, as described in the OpenAPI schema. Fields that are not named here pass through to vLLM, which checks
them; the gateway has already refused the forbidden ones."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from stillery.records import AnswerKind

_Seed = Annotated[int, Field(ge=-(2**63), lt=2**63)]
_Stop = str | list[str] | None


class StreamOptions(BaseModel):
    """`include_usage` adds a last event with the token counts."""

    model_config = ConfigDict(extra="forbid")
    include_usage: bool = False


class ChatMessage(BaseModel):
    """One message of a conversation: text only."""

    model_config = ConfigDict(extra="allow")
    role: Literal["system", "developer", "user", "assistant"]
    content: str | list[dict[str, Any]] | None = None


class _Sampling(BaseModel):
    model_config = ConfigDict(extra="allow")
    model: str | None = None
    max_tokens: Annotated[int, Field(ge=1)] | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    n: Annotated[int, Field(ge=1)] | None = None
    seed: _Seed | None = None
    stop: _Stop = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    presence_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    frequency_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None


class ChatBody(_Sampling):
    """POST /v1/chat/completions."""

    messages: Annotated[list[ChatMessage], Field(min_length=1)]
    max_completion_tokens: Annotated[int, Field(ge=1)] | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Field(ge=0)] | None = None


class CompletionBody(_Sampling):
    """POST /v1/completions."""

    prompt: str | list[str] | list[int] | list[list[int]]
    logprobs: Annotated[int, Field(ge=0)] | None = None
    echo: bool | None = None


class ReasonedBody(BaseModel):
    """POST /v1/reasoned: the question (or a conversation), answered `best_of` times (null: 8, or as many as
    the endpoint allows)."""

    model_config = ConfigDict(extra="forbid")
    model: str | None = None
    question: Annotated[str, Field(min_length=1)]
    best_of: Annotated[int, Field(ge=1)] | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] = 1.0
    max_tokens: Annotated[int, Field(ge=1)] = 512
    seed: _Seed | None = None
    answer_kind: Literal["auto"] | AnswerKind = "auto"


class BondsBody(BaseModel):
    """POST /v1/bonds: the text of a trace and, if known, its question. `svg` adds a drawing."""

    model_config = ConfigDict(extra="forbid")
    text: Annotated[str, Field(min_length=1)]
    question: str | None = None
    svg: bool = False
