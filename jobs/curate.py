#!/usr/bin/env python3
"""Up to the student's training samples."""

import sys

from distill import job

if __name__ == "__main__":
    sys.exit(job("curate"))
