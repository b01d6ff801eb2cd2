#!/usr/bin/env python3
"""Up to the distilled student's scores."""

import sys

from distill import job

if __name__ == "__main__":
    sys.exit(job("evaluate"))
