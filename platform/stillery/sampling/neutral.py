"""Settings outside every fingerprint: they only affect where and how fast work is done, or what is logged.

They are part of no fingerprint and of no sample's id, so that another machine, another number of GPUs or another
logging interval repeats no work. Any field not listed here counts as shaping the output, including unknown fields of a
later version. Results may differ in rounding between two values of a listed setting, as they do between two batches.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from stillery.config import EngineConfig
from stillery.io.hashing import contents_of


def _keys(*groups: tuple[str, Iterable[str]]) -> dict[str, str]:
    return {key: reason for reason, keys in groups for key in keys}


# In the sections `teacher` and `evaluate`.
ENGINE_SECTION = _keys(
    ("how many engines there are", ("replicas", "max_replicas")),
    ("where they run", ("num_cpus", "num_gpus", "resources", "labels")),
    ("what an engine takes of its machine", ("threads", "cpu_kv_cache_gb")),
    ("how work is handed out and written, and how often tried", ("requests_per_call", "flush_every", "max_failures")),
    ("when a run stops with an error", ("max_cut_share",)),
)  # fmt: skip

# In the section `refine`.
REFINE_SECTION = _keys(
    ("whether there is the stage", ("enabled",)),
    ("where it runs", ("num_cpus", "resources", "labels", "scratch")),
    ("what it takes of its machine", ("threads", "cpu_kv_cache_gb")),
    ("how often it is tried", ("max_failures",)),
)  # fmt: skip

# In vLLM's EngineArgs.
ENGINE_ARGS = _keys(
    (
        "how a model is spread over devices and machines",
        (
            "tensor_parallel_size", "pipeline_parallel_size", "prefill_context_parallel_size",
            "decode_context_parallel_size", "data_parallel_size", "data_parallel_rank", "data_parallel_start_rank",
            "data_parallel_size_local", "data_parallel_address", "data_parallel_rpc_port", "data_parallel_hybrid_lb",
            "data_parallel_external_lb", "data_parallel_multi_port_external_lb", "data_parallel_backend",
            "enable_expert_parallel", "all2all_backend", "enable_eplb", "eplb_config", "expert_placement_strategy",
            "distributed_executor_backend", "distributed_timeout_seconds", "cpu_distributed_timeout_seconds",
            "disable_custom_all_reduce", "disable_nccl_for_dp_synchronization", "master_addr", "master_port", "nnodes",
            "node_rank", "numa_bind", "numa_bind_nodes", "numa_bind_cpus", "device_ids",
        ),
    ),
    (
        "how much memory there is, and for what",
        (
            "gpu_memory_utilization", "kv_cache_memory_bytes", "num_gpu_blocks_override", "cpu_offload_gb",
            "cpu_offload_params", "offload_backend", "offload_group_size", "offload_num_in_group",
            "offload_prefetch_step", "offload_params", "kv_offloading_size", "kv_offloading_backend", "watermark",
            "enable_sleep_mode", "enable_cumem_allocator",
        ),
    ),
    (
        "which requests share a step",
        (
            "max_num_seqs", "max_num_batched_tokens", "max_num_scheduled_tokens", "long_prefill_token_threshold",
            "enable_chunked_prefill", "enable_prefix_caching", "prefix_caching_hash_algo", "scheduling_policy",
            "scheduler_reserve_full_isl", "prefill_schedule_interval", "async_scheduling", "stream_interval",
            "enable_dbo", "ubatch_size", "dbo_decode_token_threshold", "dbo_prefill_token_threshold",
        ),
    ),
    (
        "whether the same computation is compiled or captured",
        ("enforce_eager", "cudagraph_capture_sizes", "max_cudagraph_capture_size"),
    ),
    (
        "how weights come into memory",
        (
            "download_dir", "max_parallel_loading_workers", "safetensors_load_strategy",
            "safetensors_prefetch_num_threads", "safetensors_prefetch_block_size", "use_tqdm_on_load",
        ),
    ),
    (
        "what is said and measured",
        (
            "served_model_name", "disable_log_stats", "aggregate_engine_logging", "show_hidden_metrics_for_version",
            "otlp_traces_endpoint", "collect_detailed_traces", "per_request_spec_decode_metrics", "kv_cache_metrics",
            "kv_cache_metrics_sample", "cudagraph_metrics", "enable_layerwise_nvtx_tracing", "enable_mfu_metrics",
            "enable_logging_iteration_details", "jit_monitor_verbose", "enable_mm_processor_stats",
            "ray_workers_use_nsight", "profiler_config",
        ),
    ),
)  # fmt: skip

# Truncates a sample, and otherwise leaves it unchanged: it shapes a stage's output, but is no part of a sample's id.
LIMITS = ("max_model_len",)

# In TRL's SFTConfig.
SFT_CONFIG = _keys(
    (
        "what is said and measured",
        (
            "logging_strategy", "logging_steps", "logging_first_step", "log_on_each_node", "logging_nan_inf_filter",
            "log_level", "log_level_replica", "include_num_input_tokens_seen", "disable_tqdm", "skip_memory_metrics",
            "report_to", "project", "trackio_space_id", "trackio_bucket_id", "trackio_static_space_id",
        ),
    ),
    (
        "how rows come to the model",
        (
            "dataloader_num_workers", "dataloader_pin_memory", "dataloader_persistent_workers",
            "dataloader_prefetch_factor", "dataloader_multiprocessing_context", "dataset_num_proc",
        ),
    ),
    (
        "how workers talk",
        ("ddp_backend", "ddp_timeout", "ddp_bucket_cap_mb", "ddp_find_unused_parameters", "ddp_static_graph"),
    ),
    (
        "memory for time, with the same gradients",
        ("gradient_checkpointing", "activation_offloading", "torch_empty_cache_steps", "eval_accumulation_steps"),
    ),
    (
        "which node saves what is the same on all",
        ("save_on_each_node",),
    ),
)  # fmt: skip


def output_settings(table: Mapping[str, Any], *, neutral: Mapping[str, str]) -> dict[str, Any]:
    """The fields of a table that shape the output; a path in it counts by its contents."""
    return {key: contents_of(value) for key, value in table.items() if key not in neutral}


def engine_output_settings(engine: EngineConfig) -> dict[str, Any]:
    """The fields of an `engine` table that shape the output. Default dtype: float32 on a CPU, else the model's."""
    default = {"dtype": "auto"} if engine.num_gpus else {}
    return default | output_settings(engine.engine, neutral=ENGINE_ARGS)
