#!/usr/bin/env python3
"""Up to the fine-tuned student."""

import sys

from distill import job

if __name__ == "__main__":
    sys.exit(job("sft"))
