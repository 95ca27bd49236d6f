"""The standalone service: API, pages, sign-in and static files in one FastAPI application."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated
from urllib.parse import quote

from fastapi import Depends, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, RedirectResponse, Response
from starlette.exceptions import HTTPException
from starlette.routing import Match
from starlette.staticfiles import StaticFiles

from tallystick.domain.errors import TallystickError, Unavailable
from tallystick.service import Tallystick
from tallystick.web.context import HERE, Site, Visitor, WebSettings, site_of, visitor
from tallystick.web.pages import account, operator, returning
from tallystick.web.pages.entrance import make_entrance
from tallystick.web.problems import (
    PROBLEM_JSON,
    STATUSES,
    RequestRefused,
    from_http,
    from_validation,
    problem,
    status_of,
    title_of,
    unexpected,
)
from tallystick.web.router import make_router
from tallystick.web.security import SecurityHeaders, same_site_only, security_headers
from tallystick.web.users import User
from tallystick.web.v1 import make_v1
from tallystick.web.v1_document import Documented

__all__ = ["WebSettings", "create_app"]

_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")


def create_app(credits: Tallystick, settings: WebSettings) -> FastAPI:
    """The application. Its lifespan opens and closes `credits`."""
    site = Site(credits, settings)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        async with credits, site.running():
            yield

    app = Documented(
        title="Tallystick",
        lifespan=lifespan,
        # FastAPI's own pages for them load scripts from another host.
        docs_url=None,
        redoc_url=None,
        # A back end whose address is off by a slash is told so, and not sent elsewhere with its key.
        redirect_slashes=False,
    )
    app.state.site = site
    app.add_middleware(SecurityHeaders, https=settings.https)
    # First, because routes are tried in order. A back end brings its key itself: no other site can send it.
    # As they are, since a router that is included is looked through twice for each request.
    app.router.routes.extend(make_v1(credits).routes)
    same_site = [Depends(same_site_only)]
    app.include_router(make_router(credits, current_user=_account_id, current_email=_email), dependencies=same_site)
    app.include_router(make_entrance(), dependencies=same_site)
    for pages in (account, returning, operator):
        app.include_router(pages.router, dependencies=same_site)
    app.add_api_route("/healthz", _health, include_in_schema=False)
    app.mount("/static", StaticFiles(directory=HERE / "static"))
    app.add_exception_handler(TallystickError, _refused)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(Exception, _unexpected)
    return app


async def _account_id(user: Visitor) -> str | None:
    return None if user is None else user.account_id


async def _email(user: Annotated[User | None, Depends(visitor)]) -> str | None:
    return None if user is None else user.email


async def _health() -> JSONResponse:
    return JSONResponse({"status": "ok"})


def _wants_json(request: Request) -> bool:
    return request.url.path.startswith(("/api/", "/v1/")) or "text/html" not in request.headers.get(
        "accept", "text/html"
    )


async def _refused(request: Request, error: Exception) -> Response:
    if not isinstance(error, TallystickError):
        raise error
    if error.code not in STATUSES:
        return await _unexpected(request, error)
    if _wants_json(request):
        return problem(error)
    if error.code == "not_signed_in":
        return _to_sign_in(request)
    status = status_of(error)
    answer = _error_page(request, status, title_of(status), error.message)
    if isinstance(error, Unavailable):
        answer.headers["Retry-After"] = str(error.retry_after)
    return answer


async def _invalid(request: Request, error: Exception) -> Response:
    if not isinstance(error, RequestValidationError):
        raise error
    return await _refused(request, from_validation(error))


async def _http_error(request: Request, error: Exception) -> Response:
    """What the framework itself refuses: no such page, no such method."""
    if not isinstance(error, HTTPException):
        raise error
    refused = from_http(error)
    if refused is not None:
        return await _refused(request, refused)
    if error.status_code == 404:
        return await _refused(
            request, RequestRefused("not_found", "There is nothing at this address. Nothing was changed.")
        )
    text = "This address cannot be used that way. Nothing was changed."
    if error.status_code == 405:
        answer = await _refused(request, RequestRefused("method_not_allowed", text))
        answer.headers.update(_true_headers(request, error))
        return answer
    if _wants_json(request):
        body = {
            "type": "about:blank",
            "title": "Not possible",
            "status": error.status_code,
            "detail": text,
            "code": "http_error",
        }
        return JSONResponse(body, error.status_code, error.headers, media_type=PROBLEM_JSON)
    return _error_page(request, error.status_code, "Not possible", text)


def _true_headers(request: Request, error: HTTPException) -> dict[str, str]:
    """The headers of `error`. Where several routes share an address, the framework allows the methods of one alone."""
    headers = dict(error.headers or {})
    if "Allow" in headers:
        asked = [dict(request.scope) | {"method": method} for method in _METHODS]
        allowed = [
            scope["method"]
            for scope in asked
            if any(route.matches(scope)[0] is Match.FULL for route in request.app.routes)
        ]
        # Below a mount its own routes are asked, which know theirs.
        headers["Allow"] = ", ".join(allowed) or headers["Allow"]
    return headers


async def _unexpected(request: Request, error: Exception) -> Response:
    incident, answer = unexpected(error)
    if not _wants_json(request):
        text = f"An error on our side; we have noted it as {incident}. It is safe to try again."
        answer = _error_page(request, 500, title_of(500), text)
    # The framework sends this answer past all middleware.
    https = site_of(request).settings.https
    answer.headers.update({**security_headers(https=https), "Cache-Control": "no-store"})
    return answer


def _to_sign_in(request: Request) -> Response:
    """To the sign-in page, and back here afterwards. A part of a page takes the whole page along."""
    if request.headers.get("hx-request"):
        answer = Response(status_code=401)
        answer.headers["HX-Redirect"] = "/sign-in"
        return answer
    back = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    return RedirectResponse(f"/sign-in?next={quote(back)}" if request.method == "GET" else "/sign-in", 303)


def _error_page(request: Request, status: int, title: str, text: str) -> Response:
    answer = site_of(request).page(request, "error.html", status=status, title=title, text=text)
    # Asked for as a part of a page, it takes the place of the whole page.
    answer.headers["HX-Retarget"] = "body"
    answer.headers["HX-Reswap"] = "innerHTML"
    return answer
