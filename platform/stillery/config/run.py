"""Config of a whole run: its location, its cluster, the assumptions of its plan, and a section for each stage."""

from dataclasses import dataclass, field

from stillery.config.attention import AttentionConfig
from stillery.config.data import BondsConfig, CurateConfig, PromptsConfig, VerifyConfig
from stillery.config.refine import RefineConfig
from stillery.config.sampling import EvaluateConfig, TeacherConfig
from stillery.config.student import ExportConfig, RegisterConfig, ReportConfig, SftConfig


@dataclass
class RunSettings:
    """Name, location and seed of a run."""

    name: str = "run"
    """Name of the run: of its folder if `run.dir` is null, of its MLflow run, and in the report."""
    dir: str | None = None
    """Location of the run: an absolute path or an fsspec URI (docs/concepts/data-flow.md). Null: `HOME/runs/NAME`. A
    relative path is resolved against the current folder, and is an error inside a submitted Ray job."""
    seed: int = 0
    """Seed of the generated problems, of every sample and of the training."""
    max_failure_share: float = 0.05
    """The largest share of failed samples (an engine error, a comparison that timed out) with which `generate`,
    `verify` and the evaluations still finish. Above it they end with the reasons and keep the completed samples; the
    next start makes only the failed ones."""


@dataclass
class RoundsConfig:
    """Repeated rounds (docs/guides/training.md#rounds): training problems that the student fails are sampled more from
    the teacher, and the next student learns from all samples. A command that stops at a stage runs that of the first
    round."""

    count: int = 1
    """Number of rounds: 1 is a plain run, 2 trains a second student."""
    tries: int = 2
    """Answers of a student to each training problem, which show what it fails."""
    failed_below: float = 0.5
    """A problem counts as failed if less than this share of them is right."""
    more: int = 4
    """For a failed problem, this many times `teacher.samples_per_prompt`, `teacher.accepted_per_prompt` and
    `curate.max_per_prompt` are added to the existing ones."""
    own_traces: bool = False
    """Whether the student is also trained on its own right answers, ranked after the teacher's."""


@dataclass
class NodeGroup:
    """A group of nodes that an autoscaler starts on demand: at most `max_nodes`, each with these resources (CPU, GPU,
    custom ones) and labels. Ray adds the label `ray.io/node-group`, the group's name, only once a node runs: none is
    started for a run that requires this label."""

    max_nodes: int = 1
    resources: dict[str, float] = field(default_factory=dict[str, float])
    labels: dict[str, str] = field(default_factory=dict[str, str])


@dataclass
class ClusterConfig:
    """The Ray cluster."""

    address: str | None = None
    """Ray's address, as for `ray.init`; `local`: a new local Ray. Null: $RAY_ADDRESS, else a head running on this
    machine, else a new local Ray that ends with the command."""
    num_cpus: int | None = None
    """Logical CPUs of a Ray that the command itself starts. Null: the machine's cores, at least 4 (every actor of a
    pipeline holds one)."""
    node_groups: dict[str, NodeGroup] = field(default_factory=dict[str, NodeGroup])
    """Limits of an autoscaler, which Ray does not report: group name to `{max_nodes, resources, labels}`, such as
    `{teacher-gpu: {max_nodes: 2, resources: {CPU: 64, GPU: 8}, labels: {role: teacher}}}`. A run that asks for more
    than there will ever be is an error before it starts. See docs/guides/planning.md."""


@dataclass
class PlanConfig:
    """What `stillery plan` (docs/guides/planning.md) cannot read from the other sections. No stage depends on it."""

    gpu_memory_gib: float | None = None
    """Memory of one GPU in GiB, as reported by `nvidia-smi` (an 80 GB H100 has 79.6). Null: fit is not checked."""
    gpus_per_node: int = 8
    """GPUs per node; an engine's tensor parallel group stays within its node."""
    num_gpus: int | None = None
    """GPUs of the whole cluster. Null: as many as the largest stage takes."""
    gpu_price_per_hour: float | None = None
    """Price of one GPU hour. Null: no price."""
    reserve_gib: float = 2.0
    """Memory of each GPU reserved for what is not counted: CUDA's context, NCCL's buffers, fragmentation."""
    num_prompts: int | None = None
    """Problems that the teacher samples (training and validation). Null: counted, if `prompts` says how many."""
    num_evaluated: int | None = None
    """Problems in the evaluation. Null: counted, likewise."""
    prompt_tokens: int = 200
    """Mean tokens per rendered prompt."""
    completion_tokens: int | None = None
    """Mean tokens per sample. Null: `max_tokens`, the maximum."""
    acceptance_rate: float | None = None
    """Share of samples that are accepted, above 0. Null: every problem takes `samples_per_prompt`, and all of them are
    kept up to `curate.max_per_prompt`."""
    acceptance_concentration: float | None = None
    """How similar the problems are: their acceptance rates follow a Beta distribution with mean `acceptance_rate` and a
    + b equal to this; below 2 most problems are solved nearly always or nearly never. Null: all problems have the same
    rate."""
    teacher_tokens_per_s: float | None = None
    """Output tokens per second of one teacher replica; for an endpoint, of the whole endpoint. Null, here and below:
    the stage's time is unknown."""
    student_tokens_per_s: float | None = None
    """Output tokens per second of one student replica in evaluation."""
    training_tokens_per_s: float | None = None
    """Tokens per second processed by one training worker."""
    answers_per_s: float | None = None
    """Graded answers per second."""


@dataclass
class Config:
    """A whole run."""

    run: RunSettings = field(default_factory=RunSettings)
    rounds: RoundsConfig = field(default_factory=RoundsConfig)
    cluster: ClusterConfig = field(default_factory=ClusterConfig)
    prompts: PromptsConfig = field(default_factory=PromptsConfig)
    teacher: TeacherConfig = field(default_factory=TeacherConfig)
    verify: VerifyConfig = field(default_factory=VerifyConfig)
    bonds: BondsConfig = field(default_factory=BondsConfig)
    curate: CurateConfig = field(default_factory=CurateConfig)
    attention: AttentionConfig = field(default_factory=AttentionConfig)
    sft: SftConfig = field(default_factory=SftConfig)
    refine: RefineConfig = field(default_factory=RefineConfig)
    evaluate: EvaluateConfig = field(default_factory=EvaluateConfig)
    register: RegisterConfig = field(default_factory=RegisterConfig)
    report: ReportConfig = field(default_factory=ReportConfig)
    export: ExportConfig = field(default_factory=ExportConfig)
    plan: PlanConfig = field(default_factory=PlanConfig)
