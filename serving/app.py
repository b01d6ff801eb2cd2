"""The Ray Serve entry point: `serve run serving/serve.yaml`, `serve deploy serving/serve.yaml`."""

from stillery.serving.application import build

__all__ = ["build"]
