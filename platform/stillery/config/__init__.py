"""The configuration of a run: one dataclass per stage, read with OmegaConf.

A run's config is the defaults of its dataclasses, overridden by a YAML file, overridden by `key=value` arguments. An
unknown key or a value of the wrong type is an error that names the key and the closest known one.

Tables named `engine`, `sampling`, `trl` and `peft` pass through unchanged to vLLM's EngineArgs and SamplingParams,
TRL's SFTConfig, GRPOConfig and DPOConfig, and peft's LoraConfig; `stillery.config.passthrough` checks them against the
installed version before the first stage starts.
"""

from stillery.config.attention import TARGETS, AttentionConfig
from stillery.config.data import (
    BondsConfig,
    CodeConfig,
    CurateConfig,
    DecontaminateConfig,
    JudgeConfig,
    PromptsConfig,
    VerifyConfig,
)
from stillery.config.loading import load_config, settings_of, to_yaml
from stillery.config.refine import RefineConfig, StopRules
from stillery.config.rewards import RewardWeights
from stillery.config.run import ClusterConfig, Config, NodeGroup, PlanConfig, RoundsConfig, RunSettings
from stillery.config.sampling import (
    TEMPLATE_INSTRUCTION,
    EndpointConfig,
    EngineConfig,
    EvaluateConfig,
    RecordedConfig,
    TeacherConfig,
)
from stillery.config.student import (
    AccuracyConfig,
    DistillConfig,
    ExportConfig,
    ParityThresholds,
    RegisterConfig,
    ReportConfig,
    SftConfig,
)
from stillery.config.suggestion import suggest

__all__ = [
    "TARGETS",
    "TEMPLATE_INSTRUCTION",
    "AccuracyConfig",
    "AttentionConfig",
    "BondsConfig",
    "ClusterConfig",
    "CodeConfig",
    "Config",
    "CurateConfig",
    "DecontaminateConfig",
    "DistillConfig",
    "EndpointConfig",
    "EngineConfig",
    "EvaluateConfig",
    "ExportConfig",
    "JudgeConfig",
    "NodeGroup",
    "ParityThresholds",
    "PlanConfig",
    "PromptsConfig",
    "RecordedConfig",
    "RefineConfig",
    "RegisterConfig",
    "ReportConfig",
    "RewardWeights",
    "RoundsConfig",
    "RunSettings",
    "SftConfig",
    "StopRules",
    "TeacherConfig",
    "VerifyConfig",
    "load_config",
    "settings_of",
    "suggest",
    "to_yaml",
]
