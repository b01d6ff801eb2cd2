"""A whole run: where it lives, its cluster, what its plan takes as given, and a section for each stage."""

from dataclasses import dataclass, field

from stillery.config.data import BondsConfig, CurateConfig, PromptsConfig, VerifyConfig
from stillery.config.refine import RefineConfig
from stillery.config.sampling import EvaluateConfig, TeacherConfig
from stillery.config.student import ExportConfig, RegisterConfig, ReportConfig, SftConfig


@dataclass
class RunSettings:
    """Where a run lives. `dir` is an absolute path or an fsspec URI; null means HOME/runs/NAME, where HOME is
    $STILLERY_HOME or ~/.stillery.

    A stage that samples or grades ends with an error if a larger share of its samples than `max_failure_share` failed
    for a reason that is not the model's.
    """

    name: str = "run"
    dir: str | None = None
    seed: int = 0
    max_failure_share: float = 0.05


@dataclass
class NodeGroup:
    """A group of nodes that an autoscaler makes on demand: at most `max_nodes`, each with these resources (CPU, GPU,
    custom ones) and labels. Ray adds the label `ray.io/node-group`, the group's name, once a node runs: for a run that
    asks for it none is started."""

    max_nodes: int = 1
    resources: dict[str, float] = field(default_factory=dict[str, float])
    labels: dict[str, str] = field(default_factory=dict[str, str])


@dataclass
class ClusterConfig:
    """The Ray cluster: `address` as in ray.init (null: $RAY_ADDRESS, else a running local head, else a new one;
    `local`: a new one in any case).

    `num_cpus` is the number of logical CPUs of a cluster that we start ourselves (null: the machine's cores, at
    least 4, because every actor of a pipeline holds one). `node_groups` says how far an autoscaler goes, by name of the
    group: Ray does not tell, and a run that asks for more than there will ever be is refused before it starts.
    """

    address: str | None = None
    num_cpus: int | None = None
    node_groups: dict[str, NodeGroup] = field(default_factory=dict[str, NodeGroup])


@dataclass
class PlanConfig:
    """What `stillery plan` cannot read from the rest: the GPUs, their price, and the measured or assumed behaviour of
    the models. No stage depends on it.

    Null: a throughput makes the stage's time unknown; `completion_tokens` is max_tokens, the most there can be;
    `acceptance_rate` makes every prompt need samples_per_prompt; `num_prompts` and `num_evaluated` are counted where
    the prompts' section says how many there are.
    """

    gpu_memory_gib: float | None = None
    gpus_per_node: int = 8
    num_gpus: int | None = None
    gpu_price_per_hour: float | None = None
    # What a GPU holds besides what is counted: CUDA's context, NCCL's buffers, fragmentation.
    reserve_gib: float = 2.0
    num_prompts: int | None = None
    num_evaluated: int | None = None
    prompt_tokens: int = 200
    completion_tokens: int | None = None
    acceptance_rate: float | None = None
    # How alike problems are: their rates follow a Beta distribution with that mean and a + b of this (null: all one).
    acceptance_concentration: float | None = None
    # Output tokens a second of one replica; tokens a second of one training worker; answers a second.
    teacher_tokens_per_s: float | None = None
    student_tokens_per_s: float | None = None
    training_tokens_per_s: float | None = None
    answers_per_s: float | None = None


@dataclass
class Config:
    """A whole run."""

    run: RunSettings = field(default_factory=RunSettings)
    cluster: ClusterConfig = field(default_factory=ClusterConfig)
    prompts: PromptsConfig = field(default_factory=PromptsConfig)
    teacher: TeacherConfig = field(default_factory=TeacherConfig)
    verify: VerifyConfig = field(default_factory=VerifyConfig)
    bonds: BondsConfig = field(default_factory=BondsConfig)
    curate: CurateConfig = field(default_factory=CurateConfig)
    sft: SftConfig = field(default_factory=SftConfig)
    refine: RefineConfig = field(default_factory=RefineConfig)
    evaluate: EvaluateConfig = field(default_factory=EvaluateConfig)
    register: RegisterConfig = field(default_factory=RegisterConfig)
    report: ReportConfig = field(default_factory=ReportConfig)
    export: ExportConfig = field(default_factory=ExportConfig)
    plan: PlanConfig = field(default_factory=PlanConfig)
