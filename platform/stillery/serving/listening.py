"""The address at which this cluster's Serve listens."""

from typing import Any


def listening_host() -> str:
    """The address that this cluster's Serve listens at, whatever the settings say."""
    # The one place that knows it.
    from ray.serve.context import _get_global_client  # pyright: ignore[reportPrivateUsage]

    client: Any = _get_global_client()
    return str(client.http_config.host)
