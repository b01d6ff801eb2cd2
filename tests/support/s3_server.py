"""An S3 server on loopback for runs on an object store: moto's, in its own process."""

import contextlib
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass

BUCKET = "bucket"
START_LIMIT_S = 60.0


@dataclass(frozen=True)
class S3Server:
    """A running server with an empty bucket. A process reaches it as S3 with `environment` in its environment."""

    url: str
    environment: dict[str, str]
    uri: str = f"s3://{BUCKET}"


@contextlib.contextmanager
def s3_server() -> Iterator[S3Server]:
    """Start a server; it ends, and discards everything, with the block."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    no_proxy = ",".join(filter(None, [os.environ.get("no_proxy"), "127.0.0.1"]))
    environment = {
        # What botocore (s3fs, MLflow) and Arrow's own S3 file system (Ray Train) read.
        "AWS_ENDPOINT_URL": url,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "MLFLOW_S3_ENDPOINT_URL": url,
        "no_proxy": no_proxy,
        "NO_PROXY": no_proxy,
    }
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        _make_bucket(server, url)
        yield S3Server(url, environment)
    finally:
        server.terminate()
        server.wait()


def _make_bucket(server: "subprocess.Popen[bytes]", url: str) -> None:
    """Wait until the server answers, and create the bucket."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    until = time.monotonic() + START_LIMIT_S
    while True:
        try:
            opener.open(urllib.request.Request(f"{url}/{BUCKET}", method="PUT"), timeout=START_LIMIT_S).close()
            return
        except OSError:
            if server.poll() is not None or time.monotonic() > until:
                raise RuntimeError(f"the S3 server at {url} did not start") from None
            time.sleep(0.05)
