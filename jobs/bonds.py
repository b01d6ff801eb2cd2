#!/usr/bin/env python3
"""Up to the molecules of the teacher's samples."""

import sys

from distill import job

if __name__ == "__main__":
    sys.exit(job("bonds"))
