"""A scaling model: the time of each part of a run from unit costs, and the bottleneck.

A model, not a measurement: docs/guides/scaling.md states where its costs were measured and what is assumed. Pure.
"""

from dataclasses import dataclass

from stillery.sampling.batch import MAX_FLUSH_S
from stillery.sampling.engine_actors import BATCHES_IN_FLIGHT

# The driver computes the id of each sample when it reads the log at the end, and when it reads the sample.
IDS_PER_SAMPLE = 2


@dataclass(frozen=True, slots=True)
class Costs:
    """Costs in seconds of one core per unit, and in bytes: of the driver's memory per prompt, and of a sample on the
    way to the checker.

    `verify_s`, `bonds_s` and `curate_s` are per sample, `index_s` for the columns of one sample that identify it and
    its outcome, `row_s` for reading it completely and writing it to the output, `id_s` for its id, `tally_s` for an
    engine's report on one file, `wait_share` per second of waiting for engines.
    """

    verify_s: float
    bonds_s: float
    curate_s: float
    index_s: float
    row_s: float
    id_s: float
    tally_s: float
    wait_share: float
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
    """Replicas of `gpus_per_replica` GPUs that generate `tokens_per_s` each, `cpus_per_gpu` cores per GPU, and
    `network_bytes_per_s` into the node that verifies."""

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
    """Seconds by part; the number of files that engines write to the sample log, and their number after compaction;
    bytes of the driver's inventory of it; and seconds of the driver beside generation."""

    seconds: dict[str, float]
    num_files: float
    num_files_left: float
    driver_bytes: float
    driver_beside_s: float

    @property
    def bottleneck(self) -> str:
        return max(self.seconds, key=lambda part: self.seconds[part])

    @property
    def beside_generation(self) -> float:
        """Seconds in which no GPU works, per second in which they do."""
        generating = self.seconds["generation"]
        return (sum(self.seconds.values()) - generating) / generating


def scale(
    workload: Workload,
    hardware: Hardware,
    costs: Costs,
    *,
    flush_every: int = 128,
    batch_samples: int = 2048,
    flush_s: float = MAX_FLUSH_S,
    verify_processes: int = 1,
) -> Scaled:
    """The parts one after the other, as the stages run. Generation and bonds spread over the cluster; the rest is one
    process: verification is one actor (`verify_processes` gives the effect of more), the others are the driver."""
    samples = workload.num_samples
    cores = hardware.num_gpus * hardware.cpus_per_gpu
    files = samples / rows_per_file(workload, hardware, flush_every=flush_every, flush_s=flush_s)
    generation = samples * workload.completion_tokens / (hardware.num_replicas * hardware.tokens_per_s)
    seconds = {
        "generation": generation,
        "sample ids": samples * IDS_PER_SAMPLE * costs.id_s,
        "inventory": samples * costs.index_s,
        "log rows": samples * costs.row_s,
        "verification": samples * costs.verify_s / verify_processes,
        "object store": samples * costs.sample_bytes / hardware.network_bytes_per_s,
        "bonds": samples * costs.bonds_s / cores,
        "curation": samples * costs.curate_s,
    }
    beside = files * costs.tally_s + generation * costs.wait_share
    left = max(1.0, samples / batch_samples)
    return Scaled(seconds, files, min(files, left), workload.num_prompts * costs.index_bytes, beside)


def rows_per_file(workload: Workload, hardware: Hardware, *, flush_every: int, flush_s: float) -> float:
    """Samples in one file of the log: a block flushes at `flush_every`, or after `flush_s` with the finished ones."""
    finished_per_s = hardware.tokens_per_s / workload.completion_tokens / BATCHES_IN_FLIGHT
    return min(float(flush_every), max(1.0, finished_per_s * flush_s))
