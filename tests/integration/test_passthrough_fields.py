"""The fields read from the sources are those of the real classes: a release that moves them fails here."""

import dataclasses

from stillery.config.passthrough import ENGINE_ARGS, SAMPLING_PARAMS, SFT_CONFIG, Target, read_fields


def _read(target: Target) -> set[str]:
    return set(read_fields(target.sources, install=target.install))


def _public(names: object) -> set[str]:
    assert isinstance(names, (list, tuple))
    return {name for name in names if not name.startswith("_")}


def test_sft_config() -> None:
    from trl import SFTConfig

    assert _read(SFT_CONFIG) == _public([f.name for f in dataclasses.fields(SFTConfig) if f.init])
    assert set(SFT_CONFIG.taken) <= _read(SFT_CONFIG)


def test_engine_args() -> None:
    from vllm import EngineArgs

    assert _read(ENGINE_ARGS) == _public([f.name for f in dataclasses.fields(EngineArgs) if f.init])
    assert set(ENGINE_ARGS.taken) <= _read(ENGINE_ARGS)


def test_sampling_params() -> None:
    from vllm import SamplingParams

    assert _read(SAMPLING_PARAMS) == _public(SamplingParams.__struct_fields__)
    assert set(SAMPLING_PARAMS.taken) <= _read(SAMPLING_PARAMS)
