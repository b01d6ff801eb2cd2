"""Training precision on a CPU."""

import os
from collections.abc import Mapping
from typing import Any

from stillery.telemetry.logs import logger


def cpu_precision(table: Mapping[str, Any]) -> dict[str, Any]:
    """TRL's table, with `bf16` off where this CPU has no instructions for bfloat16: PyTorch then multiplies element by
    element, 3 to 100 times more slowly than in float32. The first worker says so."""
    if not table.get("bf16") or has_bfloat16():
        return dict(table)
    if os.environ.get("RANK", "0") == "0":
        logger.warning("bf16 is left out: this CPU has no instructions for bfloat16, and is much faster in float32")
    return {**table, "bf16": False}


def has_bfloat16() -> bool:
    """Whether oneDNN multiplies in bfloat16 here: with AVX-512 and up, or Arm's extension for it."""
    import torch

    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
