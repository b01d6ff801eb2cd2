#!/usr/bin/env python3
"""Up to the verdicts on the teacher's answers."""

import sys

from distill import job

if __name__ == "__main__":
    sys.exit(job("verify"))
