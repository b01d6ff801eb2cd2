#!/usr/bin/env python3
"""Up to the targets of attention transfer; needs attention.target."""

import sys

from distill import job

if __name__ == "__main__":
    sys.exit(job("attention"))
