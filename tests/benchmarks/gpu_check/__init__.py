"""What of stillery only a machine with a CUDA device can show: `make gpu-check`, described in docs/guides/operations.md."""
