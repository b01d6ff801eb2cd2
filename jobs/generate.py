#!/usr/bin/env python3
"""Problems and the teacher's samples, nothing filtered."""

import sys

from distill import job

if __name__ == "__main__":
    sys.exit(job("generate"))
