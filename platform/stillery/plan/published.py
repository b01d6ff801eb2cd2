"""Published shapes of well-known Hub models, for planning where the Hub is out of reach.

Each is the part of the model's config.json that determines its size, at huggingface.co/NAME/blob/main/config.json;
NUM_PARAMETERS is the number on the model's card, in billions, rounded as there.
"""

from collections.abc import Mapping
from typing import Any

_QWEN_2_5_7B = {
    "model_type": "qwen2", "hidden_size": 3584, "intermediate_size": 18944, "num_hidden_layers": 28,
    "num_attention_heads": 28, "num_key_value_heads": 4, "vocab_size": 152064, "tie_word_embeddings": False,
    "max_position_embeddings": 131072, "dtype": "bfloat16",
}  # fmt: skip
_QWEN_2_5_32B = {
    "model_type": "qwen2", "hidden_size": 5120, "intermediate_size": 27648, "num_hidden_layers": 64,
    "num_attention_heads": 40, "num_key_value_heads": 8, "vocab_size": 152064, "tie_word_embeddings": False,
    "max_position_embeddings": 131072, "dtype": "bfloat16",
}  # fmt: skip
_QWEN_3_0_6B = {
    "model_type": "qwen3", "hidden_size": 1024, "intermediate_size": 3072, "num_hidden_layers": 28,
    "num_attention_heads": 16, "num_key_value_heads": 8, "head_dim": 128, "vocab_size": 151936,
    "tie_word_embeddings": True, "max_position_embeddings": 40960, "dtype": "bfloat16",
}  # fmt: skip

PUBLISHED: Mapping[str, Mapping[str, Any]] = {
    "Qwen/QwQ-32B": _QWEN_2_5_32B | {"max_position_embeddings": 40960},
    "Qwen/Qwen2.5-7B": _QWEN_2_5_7B,
    "Qwen/Qwen2.5-7B-Instruct": _QWEN_2_5_7B | {"max_position_embeddings": 32768},
    "Qwen/Qwen3-0.6B": _QWEN_3_0_6B,
    "Qwen/Qwen3-0.6B-Base": _QWEN_3_0_6B | {"max_position_embeddings": 32768},
    "Qwen/Qwen3-1.7B": _QWEN_3_0_6B | {"hidden_size": 2048, "intermediate_size": 6144},
    "Qwen/Qwen3-1.7B-Base": _QWEN_3_0_6B
    | {"hidden_size": 2048, "intermediate_size": 6144, "max_position_embeddings": 32768},
    "deepseek-ai/DeepSeek-R1-Distill-Qwen-1.5B": {
        "model_type": "qwen2", "hidden_size": 1536, "intermediate_size": 8960, "num_hidden_layers": 28,
        "num_attention_heads": 12, "num_key_value_heads": 2, "vocab_size": 151936, "tie_word_embeddings": False,
        "max_position_embeddings": 131072, "dtype": "bfloat16",
    },
    "deepseek-ai/DeepSeek-R1-Distill-Qwen-7B": _QWEN_2_5_7B,
    "deepseek-ai/DeepSeek-R1-Distill-Qwen-32B": _QWEN_2_5_32B,
}  # fmt: skip

NUM_PARAMETERS = {
    "Qwen/QwQ-32B": 32.5,
    "Qwen/Qwen2.5-7B": 7.61,
    "Qwen/Qwen3-0.6B": 0.6,
    "Qwen/Qwen3-1.7B": 1.7,
}
