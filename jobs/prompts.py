#!/usr/bin/env python3
"""Only the problems."""

import sys

from distill import job

if __name__ == "__main__":
    sys.exit(job("prompts"))
