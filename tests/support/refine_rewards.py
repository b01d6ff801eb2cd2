"""A user's own rewards."""

from typing import Any


def digits(prompts: list[str], completions: list[str], **_: Any) -> list[float]:
    """The share of digits: it varies from the first step on."""
    return [sum(c.isdigit() for c in text) / max(1, len(text)) for text in completions]


def nan(prompts: list[str], completions: list[str], **_: Any) -> list[float]:
    return [float("nan")] * len(completions)


def broken(prompts: list[str], completions: list[str], **_: Any) -> list[float]:
    raise KeyError("solution")
