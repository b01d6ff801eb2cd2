#!/usr/bin/env python3
"""Up to the refined student, by default with jobs/configs/refine.yaml."""

import sys

from distill import job

if __name__ == "__main__":
    sys.exit(job("refine", config="refine.yaml"))
