"""Requests as bytes over a socket, so that a trial can send what an HTTP library would not; and the responses."""

import contextlib
import http.client
import json
import select
import socket
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from email.message import Message
from typing import Any, Literal

Address = tuple[str, int]
Outcome = int | Literal["closed", "silent"]

CHAT = "/v1/chat/completions"
PATIENCE_S = 20.0


@dataclass(frozen=True)
class Answer:
    """`outcome` is the status, or `closed` for a connection that ended without one, or `silent` for one that had
    neither in time. `seconds` since the connection was opened."""

    outcome: Outcome
    headers: Message
    body: bytes
    seconds: float


@dataclass(frozen=True)
class Case:
    """`pieces` can be sent once. `expected` are the allowed outcomes. `plain`: the server in front of the gateway may
    answer, in its own format. `cut_off`: the client ends the connection after the last piece."""

    name: str
    pieces: Iterable[bytes]
    expected: tuple[Outcome, ...]
    plain: bool = False
    cut_off: bool = False
    patience_s: float = PATIENCE_S


def request(
    method: str, target: str, *, key: str | None = None, body: bytes | None = None, headers: Iterable[str] = ()
) -> bytes:
    """The bytes of a request whose connection ends with the response. The body is JSON unless `headers` say
    otherwise."""
    lines = [f"{method} {target} HTTP/1.1", "Host: gateway", "Connection: close", *headers]
    if key is not None:
        lines.append(f"Authorization: Bearer {key}")
    if body is not None:
        names = {line.partition(":")[0].lower() for line in lines[1:]}
        if "content-type" not in names:
            lines.append("Content-Type: application/json")
        if not names & {"content-length", "transfer-encoding"}:
            lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + (body or b"")


def post(target: str, fields: Any, *, key: str | None = None) -> bytes:
    """A request with `fields` as JSON."""
    return request("POST", target, key=key, body=json.dumps(fields).encode())


def chunks(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """A body in HTTP's chunked encoding."""
    for piece in pieces:
        yield b"%x\r\n%b\r\n" % (len(piece), piece)
    yield b"0\r\n\r\n"


def send(address: Address, pieces: Iterable[bytes], *, cut_off: bool = False, patience_s: float = PATIENCE_S) -> Answer:
    """Send the pieces of one request until a response begins, and read it. `cut_off`: nothing comes after the last."""
    started = time.monotonic()
    outcome: Outcome = "closed"
    headers, body = Message(), b""
    with socket.create_connection(address, timeout=patience_s) as connection:
        response = http.client.HTTPResponse(connection)
        try:
            # A closed connection is noticed when its response is read.
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                for piece in pieces:
                    if select.select([connection], [], [], 0)[0]:
                        break
                    connection.sendall(piece)
                if cut_off:
                    connection.shutdown(socket.SHUT_WR)
            response.begin()
            headers, body = response.headers, _read(response)
            outcome = response.status
        except TimeoutError:
            outcome = "silent"
        except (ConnectionError, http.client.HTTPException):
            outcome = "closed"
        finally:
            response.close()
    return Answer(outcome, headers, body, time.monotonic() - started)


def _read(response: http.client.HTTPResponse) -> bytes:
    try:
        return response.read()
    except http.client.IncompleteRead as error:
        return error.partial


@contextlib.contextmanager
def begun_stream(address: Address, raw: bytes) -> Iterator[Outcome]:
    """A stream that has begun and is not read further until the `with` block ends, which closes it; as an outcome."""
    with socket.socket() as connection:
        # As small as possible: an unread stream must fill the buffers in front of it.
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.settimeout(PATIENCE_S)
        connection.connect(address)
        # It keeps the connection open until it is closed itself.
        with contextlib.closing(http.client.HTTPResponse(connection)) as response:
            try:
                connection.sendall(raw)
                response.begin()
                response.read(1)
                outcome: Outcome = response.status
            except TimeoutError:
                outcome = "silent"
            except (ConnectionError, http.client.HTTPException):
                outcome = "closed"
            yield outcome


def wait_until(true: Callable[[], bool], *, within_s: float) -> bool:
    """Whether a condition became true in time."""
    until = time.monotonic() + within_s
    while not true():
        if time.monotonic() > until:
            return False
        time.sleep(0.2)
    return True
