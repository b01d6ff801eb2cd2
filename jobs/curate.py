#!/usr/bin/env python3
"""Up to the samples that the student would train on."""

import sys

from distill import job

if __name__ == "__main__":
    sys.exit(job("curate"))
