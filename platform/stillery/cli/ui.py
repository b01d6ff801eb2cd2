"""`stillery ui [RUN…]`: run folders in a browser, until Ctrl-C."""

import socket
import webbrowser
from collections.abc import Sequence

from stillery.errors import UserError
from stillery.serving.gateway import GatewaySettings, check_binding
from stillery.ui.app import make_app
from stillery.ui.runs import RunList


def serve_runs(runs: Sequence[str], *, host: str, port: int, key_file: str | None, open_browser: bool) -> None:
    """Serve until Ctrl-C. Raises UserError for a missing run, an address reachable from other machines without a key,
    or a port that is taken, before anything starts."""
    import uvicorn

    check_binding(host, GatewaySettings(key_file=key_file), set_by="--keys")
    app = make_app(RunList(runs), key_file=key_file)
    listener = _listen(host, port)
    shown = f"[{host}]" if ":" in host else host
    address = f"http://{shown}:{listener.getsockname()[1]}/"
    print(f"runs at {address}\nCtrl-C stops it", flush=True)
    if open_browser:
        webbrowser.open(address)
    with listener:
        uvicorn.Server(uvicorn.Config(app, log_level="warning", server_header=False)).run(sockets=[listener])


def _listen(host: str, port: int) -> socket.socket:
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except (OSError, OverflowError) as error:
        listener.close()
        raise UserError(f"cannot listen on {host}:{port}: {error}; choose another --port or --host") from None
    return listener
