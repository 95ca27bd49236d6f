"""What all pages share: templates, headers, and the fields of a form."""

from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

from jinja2 import Environment, FileSystemLoader
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

HERE = Path(__file__).parent
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}
MAX_FORM = 65_536

_TEMPLATES = Environment(loader=FileSystemLoader(HERE / "templates"), autoescape=True, trim_blocks=True)


def page(template: str, *, status: int = 200, **values: Any) -> Response:
    """A page."""
    return HTMLResponse(_TEMPLATES.get_template(template).render(**values), status, HEADERS)


def see(url: str) -> Response:
    """Send the browser on to `url` with a GET."""
    return RedirectResponse(url, 303, HEADERS)


async def fields(request: Request) -> dict[str, str]:
    """The fields of a posted form; none of one that is too large."""
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_FORM:
            return {}
    return dict(parse_qsl(body.decode(errors="replace"), keep_blank_values=True))
