"""What every answer and every request has to do with safety: headers, and no state changed from other sites."""

from asgi_cross_origin_protection import CrossOriginProtection
from fastapi import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tallystick.web.problems import RequestRefused

CONTENT_SECURITY_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data:",
        "connect-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    )
)


async def same_site_only(request: Request) -> None:
    """Refuse a state-changing request that another site caused (CSRF). A dependency for all routes."""
    blocked = True

    async def allowed(_scope: Scope, _receive: Receive, _send: Send) -> None:
        nonlocal blocked
        blocked = False

    async def denied(_scope: Scope, _receive: Receive, _send: Send) -> None:
        return None

    async def unsent(_message: Message) -> None:
        return None

    await CrossOriginProtection(allowed, deny_app=denied)(request.scope, request.receive, unsent)
    if blocked:
        raise RequestRefused(
            "cross_site", "This request came from another site, so it was not carried out. Nothing was changed."
        )


class NotJson(RequestRefused):
    """A body of another kind."""

    def __init__(self, kind: str) -> None:
        super().__init__("unsupported_media_type", f"Send application/json, not {kind[:60]!r}. Nothing was changed.")


async def json_only(request: Request) -> None:
    """Only JSON, or nothing at all: a form of another site cannot send that. A dependency. Raises NotJson."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind not in ("", "application/json"):
        raise NotJson(kind)


def security_headers(*, https: bool) -> dict[str, str]:
    """The headers of every answer; `https` also tells browsers to stay with it."""
    headers = {
        "Content-Security-Policy": CONTENT_SECURITY_POLICY,
        "X-Content-Type-Options": "nosniff",
        "X-Frame-Options": "DENY",
        "Referrer-Policy": "strict-origin-when-cross-origin",
        "Cross-Origin-Opener-Policy": "same-origin",
        "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=()",
    }
    if https:
        headers["Strict-Transport-Security"] = "max-age=31536000; includeSubDomains"
    return headers


class SecurityHeaders:
    """Adds the security headers, and says how long an answer may be kept."""

    def __init__(self, app: ASGIApp, *, https: bool) -> None:
        self._app = app
        self._headers = [(k.lower().encode(), v.encode()) for k, v in security_headers(https=https).items()]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        # Pages show balances and must not outlive a sign-out; static files change with the version.
        kept = b"public, max-age=3600" if scope["path"].startswith("/static/") else b"no-store"

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = message["headers"]
                given = {name for name, _ in headers}
                ours = (*self._headers, (b"cache-control", kept))
                message["headers"] = [*headers, *(header for header in ours if header[0] not in given)]
            await send(message)

        await self._app(scope, receive, with_headers)
