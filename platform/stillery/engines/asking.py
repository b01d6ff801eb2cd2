"""Putting problems to a model: render, make the requests, sample what is missing."""

from collections.abc import Mapping, Sequence
from typing import Any

from stillery.config import EngineConfig
from stillery.engines.models import model_id
from stillery.engines.prompting import render, requests_for
from stillery.engines.sampling import sample
from stillery.records import Generation, Message, Prompt, digest
from stillery.runs import Run


def ask(
    prompts: Sequence[Prompt],
    conversations: Sequence[Sequence[Message]],
    *,
    model: str,
    engine: EngineConfig,
    sampling: Mapping[str, Any],
    num_samples: int,
    template_kwargs: Mapping[str, Any],
    run: Run,
    label: str,
) -> list[Generation]:
    """`num_samples` samples of the model on each prompt, a prompt's samples together, in order of sample index.

    `conversations` holds the messages that ask each prompt; `sampling` vLLM's SamplingParams fields and `seed`, the
    run's. Samples that the run's log already holds are not made again.
    """
    rendered = render(conversations, model=model, template_kwargs=template_kwargs)
    identity = model_id(model, engine.engine)
    requests = requests_for(prompts, rendered, model_id=identity, sampling=sampling, num_samples=num_samples)
    log = run.log_folder(digest(identity, dict(sampling))[:16])
    return sample(requests, model=model, engine=engine, sampling=sampling, log=log, label=label)
