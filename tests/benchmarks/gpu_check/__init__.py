"""Checks that need a CUDA device: `make gpu-check`, described in docs/guides/operations.md."""
