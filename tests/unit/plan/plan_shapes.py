"""Hand-written architectures, so that tests of the arithmetic load no library."""

from stillery.plan.architecture import Architecture

TINY = Architecture(
    name="tiny",
    num_parameters=1_000_000,
    num_embedding_parameters=200_000,
    num_layers=4,
    hidden_size=128,
    intermediate_size=512,
    num_heads=4,
    kv_heads=2,
    head_dim=32,
    kv_values_per_token=2 * 2 * 32,
    vocab_size=1000,
    max_positions=2048,
    dtype="bfloat16",
    is_mixture=False,
    has_qk_norm=False,
)

# QwQ-32B's shape.
LARGE = Architecture(
    name="large",
    num_parameters=32_763_876_352,
    num_embedding_parameters=2 * 152_064 * 5_120,
    num_layers=64,
    hidden_size=5_120,
    intermediate_size=27_648,
    num_heads=40,
    kv_heads=8,
    head_dim=128,
    kv_values_per_token=2 * 8 * 128,
    vocab_size=152_064,
    max_positions=40_960,
    dtype="bfloat16",
    is_mixture=False,
    has_qk_norm=False,
)

# Qwen2.5-7B's shape.
MIDDLE = Architecture(
    name="middle",
    num_parameters=7_615_616_512,
    num_embedding_parameters=2 * 152_064 * 3_584,
    num_layers=28,
    hidden_size=3_584,
    intermediate_size=18_944,
    num_heads=28,
    kv_heads=4,
    head_dim=128,
    kv_values_per_token=2 * 4 * 128,
    vocab_size=152_064,
    max_positions=32_768,
    dtype="bfloat16",
    is_mixture=False,
    has_qk_norm=False,
)
