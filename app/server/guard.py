"""Who may ask: on loopback, this machine's own pages and programs; elsewhere, those who hold the token."""

from __future__ import annotations

import ipaddress
import secrets
from collections.abc import Awaitable, Callable
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from ...core.errors import UserError

MAX_BODY = 1 << 20
COOKIE = "populace-token"
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}

Next = Callable[[Request], Awaitable[Response]]


def loopback(host: str) -> bool:
    """Whether a name or address is this machine alone."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def check_host(host: str, token: str | None) -> None:
    """Raise UserError if the server would stand open: an address that others reach needs a token of some length."""
    if not loopback(host) and not token:
        raise UserError(f"--host {host} can be reached from elsewhere: give a --token, or keep to 127.0.0.1")
    if token is not None and len(token) < 16:
        raise UserError("--token is shorter than 16 characters")


def guard(token: str | None) -> Callable[[Request, Next], Awaitable[Response]]:
    """A filter before every address."""

    async def filtered(request: Request, call_next: Next) -> Response:
        refused = _refusal(request, token)
        response = refused or await call_next(request)
        for name, value in _HEADERS.items():
            response.headers.setdefault(name, value)
        given = request.query_params.get("token")
        if token and not refused and given and secrets.compare_digest(given, token):
            response.set_cookie(COOKIE, token, httponly=True, samesite="strict")
        return response

    return filtered


def _refusal(request: Request, token: str | None) -> Response | None:
    host = urlsplit(f"//{request.headers.get('host', '')}").hostname or ""
    if token is None and not loopback(host):
        # a page of elsewhere, whose name has been made to mean this machine
        return _no(421, "ask for 127.0.0.1 or localhost")
    origin = request.headers.get("origin")
    if origin and urlsplit(origin).netloc != request.headers.get("host"):
        return _no(403, "a page of another site may not ask")
    if token is not None and not _knows(request, token):
        return _no(401, "give the token: 'Authorization: Bearer TOKEN', or ?token=TOKEN once for the page")
    length = request.headers.get("content-length")
    if request.method in ("POST", "PUT", "PATCH") and not (length or "").isdigit():
        return _no(411, "a Content-Length is needed")
    if length and length.isdigit() and int(length) > MAX_BODY:
        return _no(413, f"at most {MAX_BODY:,} bytes")
    return None


def _knows(request: Request, token: str) -> bool:
    bearer = request.headers.get("authorization", "").removeprefix("Bearer ")
    given = (bearer, request.cookies.get(COOKIE, ""), request.query_params.get("token", ""))
    return any(secrets.compare_digest(g.encode(), token.encode()) for g in given)


def _no(code: int, why: str) -> Response:
    return JSONResponse({"error": why}, code)
