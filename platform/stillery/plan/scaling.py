"""How far a run scales: the time of each part of it from what one unit costs, and which part is the longest.

A model, not a measurement: see docs/scaling.md for what its costs were measured on and what is only assumed. Pure.
"""

from dataclasses import dataclass

from stillery.engines.block import FLUSH_SECONDS
from stillery.engines.sampling import BLOCKS_IN_FLIGHT

# The driver works out the id of each sample for its first and its second try, once in asking and once in reading.
IDS_PER_SAMPLE = 4


@dataclass(frozen=True, slots=True)
class Costs:
    """Seconds of one core for one unit, and bytes for a sample: of the driver's memory, and on the way to the checker.

    `verify_s`, `bonds_s` and `curate_s` are for a sample, `index_s` for opening one file of the log, `row_s` for
    reading one sample, `id_s` for one sample's id.
    """

    verify_s: float
    bonds_s: float
    curate_s: float
    index_s: float
    row_s: float
    id_s: float
    index_bytes: float
    sample_bytes: float


@dataclass(frozen=True, slots=True)
class Workload:
    """`num_prompts` problems, `samples_per_prompt` each, of `completion_tokens` on average."""

    num_prompts: int
    samples_per_prompt: int
    completion_tokens: float

    @property
    def num_samples(self) -> int:
        return self.num_prompts * self.samples_per_prompt


@dataclass(frozen=True, slots=True)
class Hardware:
    """Replicas of `gpus_per_replica` GPUs that write `tokens_per_s` each, `cpus_per_gpu` cores beside every GPU, and
    `network_bytes_per_s` into the node that checks."""

    num_gpus: int
    gpus_per_replica: int
    tokens_per_s: float
    cpus_per_gpu: float
    network_bytes_per_s: float

    @property
    def num_replicas(self) -> int:
        return self.num_gpus // self.gpus_per_replica


@dataclass(frozen=True, slots=True)
class Scaled:
    """Seconds by part, the number of files of the sample log, and bytes of the driver's index of it."""

    seconds: dict[str, float]
    num_files: float
    driver_bytes: float

    @property
    def bottleneck(self) -> str:
        return max(self.seconds, key=lambda part: self.seconds[part])

    @property
    def beside_generation(self) -> float:
        """Seconds in which no GPU works, for each second in which they do."""
        generating = self.seconds["generation"]
        return (sum(self.seconds.values()) - generating) / generating


def scale(
    workload: Workload,
    hardware: Hardware,
    costs: Costs,
    *,
    flush_every: int = 128,
    flush_s: float = FLUSH_SECONDS,
    verify_processes: int = 1,
) -> Scaled:
    """The parts one after the other, as the stages run. Generation and bonds spread over the cluster; the rest is one
    process: checking is one actor (`verify_processes` says what more would do), the others are the driver."""
    samples = workload.num_samples
    cores = hardware.num_gpus * hardware.cpus_per_gpu
    files = samples / rows_per_file(workload, hardware, flush_every=flush_every, flush_s=flush_s)
    seconds = {
        "generation": samples * workload.completion_tokens / (hardware.num_replicas * hardware.tokens_per_s),
        "sample ids": samples * IDS_PER_SAMPLE * costs.id_s,
        "log files": files * costs.index_s,
        "log rows": samples * costs.row_s,
        "verification": samples * costs.verify_s / verify_processes,
        "object store": samples * costs.sample_bytes / hardware.network_bytes_per_s,
        "bonds": samples * costs.bonds_s / cores,
        "curation": samples * costs.curate_s,
    }
    return Scaled(seconds, files, samples * costs.index_bytes)


def rows_per_file(workload: Workload, hardware: Hardware, *, flush_every: int, flush_s: float) -> float:
    """Samples in one file of the log: a block flushes at `flush_every`, or after `flush_s` with what has finished."""
    finished_per_s = hardware.tokens_per_s / workload.completion_tokens / BLOCKS_IN_FLIGHT
    return min(float(flush_every), max(1.0, finished_per_s * flush_s))
