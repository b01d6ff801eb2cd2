#!/usr/bin/env python3
"""Up to what the student is to attend to; needs attention.target."""

import sys

from distill import job

if __name__ == "__main__":
    sys.exit(job("attention"))
