"""Browser sessions: the gateway's key in a cookie instead of a header.

`/session`, requested with the key in the header as any client sends it, sets the cookie. The cookie holds the key,
inaccessible to scripts and to other sites. Without a valid key, a person gets the login page.
"""

from http.cookies import CookieError, SimpleCookie
from urllib.parse import quote

from stillery.serving.gateway.asgi import App, Message, Receive, Scope, Send, header_values
from stillery.serving.gateway.keys import KEY

COOKIE = "stillery_key"
LOGIN, SESSION = "/login", "/session"


class Sessions:
    """ASGI middleware, outside the gateway of an application with keys."""

    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = header_values(scope, b"authorization")
        if not given and (key := _key_of(scope)):
            scope = {**scope, "headers": [*scope["headers"], (b"authorization", f"Bearer {key}".encode())]}
        await self._app(scope, receive, _Reply(scope, send, given[0] if given else b"").send)


class _Reply:
    """The response: with the cookie if a key has just opened a session, and the login page instead of a 401 for clients
    that accept HTML."""

    def __init__(self, scope: Scope, send: Send, given: bytes) -> None:
        self._scope, self._send, self._given = scope, send, given
        self._is_replaced = False

    async def send(self, message: Message) -> None:
        if message["type"] != "http.response.start":
            if not self._is_replaced:
                await self._send(message)
            return
        wants_page = any(b"text/html" in value for value in header_values(self._scope, b"accept"))
        if message["status"] == 401 and wants_page:
            self._is_replaced = True
            target = self._scope["path"] + (f"?{self._scope['query_string'].decode('latin-1')}".rstrip("?"))
            headers = [(b"location", f"{LOGIN}?next={quote(target)}".encode()), (b"cache-control", b"no-store")]
            await self._send({"type": "http.response.start", "status": 303, "headers": headers})
            await self._send({"type": "http.response.body", "body": b""})
            return
        if self._scope["path"] == SESSION and message["status"] == 204:
            secure = "; Secure" if self._scope["scheme"] == "https" else ""
            key = self._given.partition(b" ")[2].strip().decode("latin-1")
            cookie = f"{COOKIE}={key}; Path=/; HttpOnly; SameSite=Strict{secure}"
            message = {**message, "headers": [*message.get("headers", []), (b"set-cookie", cookie.encode())]}
        await self._send(message)


def _key_of(scope: Scope) -> str | None:
    """The key in the cookie, if it is well formed."""
    for value in header_values(scope, b"cookie"):
        try:
            found = SimpleCookie(value.decode("latin-1")).get(COOKIE)
        except CookieError:
            continue
        if found is not None and KEY.fullmatch(found.value):
            return found.value
    return None
