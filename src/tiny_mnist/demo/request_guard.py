"""ASGI middleware: only the page itself may talk to the server of the page."""

import ipaddress
import socket
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

MAX_REQUEST_BYTES = 64 * 2**20  # a picture file, which arrives as base64
LOOPBACK_NAMES = frozenset(["localhost"])


class RequestGuard:
    """Refuses requests from other web pages, under foreign host names, or of too many bytes.

    A web page on another site can send requests to a server on this machine; the browser then adds
    the Origin of that page. With DNS rebinding, such a page reaches the server under a name of its
    own, which is in Host; so only addresses and this machine's names are accepted. Uploaded files
    would be stored, and the page does not use them.

    Args:
        app: the application behind it.
        host: the name or address that the server listens on; the page may be asked for under it.
    """

    def __init__(self, app: "ASGIApp", host: str = "localhost") -> None:
        self.app = app
        self.names = LOOPBACK_NAMES | {socket.gethostname().lower(), host.lower()}

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        """Hand an allowed request on, and answer any other."""
        from starlette.responses import PlainTextResponse

        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        headers = {key.lower(): value for key, value in scope["headers"]}
        refusal = check_request(
            scope.get("method", "GET"),
            scope["path"],
            {key.decode("latin-1"): value.decode("latin-1") for key, value in headers.items()},
            self.names,
        )
        if refusal is None:
            await self.app(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
        else:
            status, reason = refusal
            await PlainTextResponse(reason, status)(scope, receive, send)


def check_request(
    method: str, path: str, headers: dict[str, str], names: frozenset[str] = LOOPBACK_NAMES
) -> tuple[int, str] | None:
    """The status and the reason of a refusal; None for an allowed request.

    Args:
        method: GET, POST, …
        path: the path of the address.
        headers: the headers by name in lower case.
        names: the names of this machine.
    """
    host = headers.get("host", "")
    origin = headers.get("origin")
    length = headers.get("content-length", "")
    has_body = method not in ("GET", "HEAD", "OPTIONS")
    refusals = (
        (not is_local_name(host, names), 403, "The page is not served under this host name."),
        (
            origin is not None and origin.lower().partition("://")[2] != host.lower(),
            403,
            "Requests of other web pages are refused.",
        ),
        (path.rstrip("/").endswith("/upload"), 403, "Files cannot be uploaded."),
        (has_body and not length.isdecimal(), 411, "The length of the request is missing."),
        (
            has_body and length.isdecimal() and int(length) > MAX_REQUEST_BYTES,
            413,
            f"A request may have {MAX_REQUEST_BYTES // 2**20} MiB at most.",
        ),
    )
    return next(((status, reason) for refused, status, reason in refusals if refused), None)


def is_local_name(host: str, names: frozenset[str]) -> bool:
    """Whether a Host header has an IP address or one of these names, with or without port."""
    try:
        name = urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return False
    if name in names:
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
