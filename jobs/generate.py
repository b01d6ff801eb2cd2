#!/usr/bin/env python3
"""Up to the teacher's samples, unfiltered."""

import sys

from distill import job

if __name__ == "__main__":
    sys.exit(job("generate"))
