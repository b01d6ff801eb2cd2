"""stillery distils the reasoning of a large language model into a small one, on Ray."""

import logging

__version__ = "0.1.0"

# transformers imports torchao in every process, and torchao warns of GPU libraries that a CPU machine does without and
# of an interface of torch's that it still uses.
for _name in ("torchao", "torch.utils._pytree"):
    logging.getLogger(_name).setLevel(logging.ERROR)
