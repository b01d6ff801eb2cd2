"""stillery distils the reasoning of a large language model into a small one, on Ray."""

import importlib
import logging
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stillery.bonds import analyze
    from stillery.config import load_config
    from stillery.pipeline.runner import run_pipeline as run
    from stillery.verify import grade, same_answer

__version__ = "0.1.0"
__all__ = ["analyze", "grade", "load_config", "run", "same_answer"]

# The module of each name of the Python interface: imported on first use, so that help is quick.
_HOMES = {
    "analyze": ("stillery.bonds", "analyze"),
    "grade": ("stillery.verify", "grade"),
    "load_config": ("stillery.config", "load_config"),
    "run": ("stillery.pipeline.runner", "run_pipeline"),
    "same_answer": ("stillery.verify", "same_answer"),
}

# transformers imports torchao in every process, and torchao warns of GPU libraries that a CPU machine does not need and
# of an interface of torch's that it still uses.
for _name in ("torchao", "torch.utils._pytree"):
    logging.getLogger(_name).setLevel(logging.ERROR)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, attribute = _HOMES[name]
    return getattr(importlib.import_module(module), attribute)
