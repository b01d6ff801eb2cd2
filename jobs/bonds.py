#!/usr/bin/env python3
"""Up to the molecules of the teacher's samples; set bonds.enabled=true."""

import sys

from distill import job

if __name__ == "__main__":
    sys.exit(job("bonds"))
