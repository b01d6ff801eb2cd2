#!/usr/bin/env python3
"""Edge artifacts of a model, parity-gated: jobs/export.py [--format gguf,onnx] --out DIR MODEL [key=value ...].

In a submitted Ray job, DIR must be an absolute path.
"""

import sys

from distill import job

if __name__ == "__main__":
    sys.exit(job("export"))
