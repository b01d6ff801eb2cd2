#!/usr/bin/env python3
"""The report of the stages that are finished; runs none of them."""

import sys

from distill import job

if __name__ == "__main__":
    sys.exit(job("report"))
