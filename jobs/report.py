#!/usr/bin/env python3
"""The report on the finished stages; runs no stage."""

import sys

from distill import job

if __name__ == "__main__":
    sys.exit(job("report"))
