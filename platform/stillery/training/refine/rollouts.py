"""Samplers of the model in training, besides transformers itself (`training.generation`): vLLM in the worker.

In: prompts in tokens. Out: completions in tokens and, from vLLM, their log-probabilities. TRL's own vLLM cannot run on
a CPU, where weights are packed as they are loaded: here they are passed over and packed again.
"""

from collections.abc import Callable, Sequence
from typing import Any

from stillery.config import EngineConfig
from stillery.records import digest, seed_of
from stillery.sampling.backends.vllm import load_engine
from stillery.training.adapters import whole_weights
from stillery.training.generation import Completion, CompletionSampler, Sampling


class VllmSampler:
    """vLLM with the weights of the model in training."""

    def __init__(self, path: str, config: EngineConfig, *, sampling: Sampling, model: Callable[[], Any]) -> None:
        """`path` holds the model's initial weights; `model` returns the current model, unwrapped."""
        self._llm = load_engine(path, config)
        self._sampling = sampling
        self._model = model

    def sync_weights(self) -> None:
        """Pass the engine the model's weights, and clear the caches of the old ones."""
        pairs = whole_weights(self._model())
        self._llm.collective_rpc("reload_weights", kwargs={"weights_iterator": pairs})
        self._llm.apply_model(pack_tied_head)
        self._llm.reset_prefix_cache()

    def generate(self, prompts: Sequence[Sequence[int]], *, draw: str) -> list[Completion]:
        from vllm import SamplingParams
        from vllm.inputs import TokensPrompt

        settings: dict[str, Any] = {
            "temperature": self._sampling.temperature,
            "top_p": 1.0,
            "top_k": 0,
            "max_tokens": self._sampling.max_tokens,
            "stop_token_ids": list(self._sampling.stop_token_ids),
            "logprobs": 0,
            "detokenize": False,
        }
        seeds = [seed_of(digest(self._sampling.seed, draw, row)) for row in range(len(prompts))]
        outputs = self._llm.generate(
            [TokensPrompt(prompt_token_ids=list(ids)) for ids in prompts],
            [SamplingParams(**settings, seed=seed) for seed in seeds],
            use_tqdm=False,
        )
        return [_completion(output.outputs[0]) for output in outputs]


def _completion(output: Any) -> Completion:
    tokens = list(output.token_ids)
    steps = zip(tokens, output.logprobs, strict=True)
    return Completion(tokens, [step[token].logprob for token, step in steps])


def pack_tied_head(model: Any) -> None:
    """Pack a CPU engine's output layer again where it shares the embedding: vLLM does that only when it loads a model
    for the first time, and would keep using the first weights."""
    head: Any = getattr(model, "lm_head", None)
    embedding: Any = getattr(getattr(model, "model", None), "embed_tokens", None)
    is_tied = getattr(getattr(model, "config", None), "tie_word_embeddings", False)
    if not is_tied or head is None or embedding is None or embedding.weight.device.type != "cpu":
        return
    head.weight = embedding.weight
    from vllm.model_executor.layers.utils import dispatch_cpu_unquantized_gemm

    dispatch_cpu_unquantized_gemm(head, remove_weight=False)


class TrlSampler:
    """The vLLM that TRL itself runs, on a GPU, used for validation."""

    def __init__(self, trainer: Any) -> None:
        self._trainer = trainer

    def sync_weights(self) -> None:
        self._trainer.vllm_generation.sync_weights()

    def generate(self, prompts: Sequence[Sequence[int]], *, draw: str) -> list[Completion]:
        del draw
        _, tokens, _, _ = self._trainer.vllm_generation.generate([list(ids) for ids in prompts], None, 1)
        return [Completion(list(ids), None) for ids in tokens]


class TrlClient:
    """A sampler in place of the client through which TRL's trainers call vLLM."""

    def __init__(self, trainer: Any, sampler: CompletionSampler) -> None:
        self._trainer = trainer
        self._sampler = sampler

    def sync_weights(self) -> None:
        self._sampler.sync_weights()

    def generate(self, prompts: list[list[int]], profiler: Any, **_: Any) -> tuple[Any, Any, Any, Any]:
        """TRL has already repeated the prompts. Log-probabilities and tokens are by completion, token and
        alternative."""
        draw = f"step {self._trainer.state.global_step} {self._trainer.accelerator.process_index}"
        with profiler:
            made = self._sampler.generate(prompts, draw=draw)
        tokens = [completion.tokens for completion in made]
        return prompts, tokens, [_alternatives(completion) for completion in made], [[[t] for t in ts] for ts in tokens]


def _alternatives(completion: Completion) -> list[list[float]]:
    assert completion.logprobs is not None, "what stands for vLLM gives log-probabilities"
    return [[logprob] for logprob in completion.logprobs]
