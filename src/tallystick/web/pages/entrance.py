"""Signing up, in and out."""

from typing import Annotated

from fastapi import APIRouter, Form, Request
from fastapi.responses import RedirectResponse, Response

from tallystick.domain.errors import InvalidInput
from tallystick.web.attempts import RETRY_AFTER, Attempts
from tallystick.web.context import Site, TheSite, Visitor
from tallystick.web.problems import GuardedRoute
from tallystick.web.sessions import COOKIE
from tallystick.web.users import SHORTEST_PASSWORD, normalise

# PostgreSQL cannot look up a NUL.
Field = Annotated[str, Form(max_length=1000, pattern="^[^\\x00]*$")]


def make_entrance() -> APIRouter:
    """The routes, with a count of attempts of their own."""
    router = APIRouter(include_in_schema=False, route_class=GuardedRoute)
    attempts = Attempts()

    def too_many(request: Request, email: str) -> bool:
        return attempts.too_many(request.client.host if request.client else "unknown", normalise(email))

    @router.get("/")
    async def home(user: Visitor) -> Response:
        return RedirectResponse("/sign-in" if user is None else "/dashboard", 303)

    @router.get("/sign-in")
    async def show_sign_in(request: Request, site: TheSite, user: Visitor, next: str = "") -> Response:
        if user is not None:
            return RedirectResponse(local(next), 303)
        return _form(request, site, "sign_in.html", next=next)

    @router.post("/sign-in")
    async def sign_in(
        request: Request, site: TheSite, email: Field = "", password: Field = "", next: Field = ""
    ) -> Response:
        if too_many(request, email):
            answer = _form(
                request,
                site,
                "sign_in.html",
                429,
                error="Too many attempts. Wait five minutes, then try again.",
                email=email,
                next=next,
            )
            answer.headers["Retry-After"] = str(RETRY_AFTER)
            return answer
        user = await site.users.authenticate(email, password)
        if user is None:
            error = "That e-mail and password do not fit together. Nothing was changed."
            return _form(request, site, "sign_in.html", 401, error=error, email=email, next=next)
        return await site.sign_in(request, user, local(next))

    @router.get("/sign-up")
    async def show_sign_up(request: Request, site: TheSite, user: Visitor) -> Response:
        if user is not None:
            return RedirectResponse("/dashboard", 303)
        return _form(request, site, "sign_up.html")

    @router.post("/sign-up")
    async def sign_up(request: Request, site: TheSite, email: Field = "", password: Field = "") -> Response:
        if too_many(request, email):
            error = "Too many attempts. Wait five minutes, then try again."
            return _form(request, site, "sign_up.html", 429, error=error, email=email)
        try:
            user = await site.users.create(email, password)
        except InvalidInput as error:
            field = str(error.details.get("field", ""))
            return _form(request, site, "sign_up.html", 422, error=error.message, email=email, field=field)
        return await site.sign_in(request, user, "/dashboard")

    @router.post("/sign-out")
    async def sign_out(request: Request, site: TheSite) -> Response:
        token = request.cookies.get(COOKIE)
        if token is not None:
            await site.sessions.end(token)
        answer = RedirectResponse("/sign-in", 303)
        answer.delete_cookie(COOKIE, httponly=True, samesite="lax", secure=site.settings.https)
        return answer

    return router


def local(path: str) -> str:
    """`path` if it leads to a page of ours, else the dashboard: nobody is sent to another site."""
    safe = path.startswith("/") and not path.startswith(("//", "/\\")) and "\\" not in path
    return path if safe and path.isprintable() else "/dashboard"


def _form(
    request: Request,
    site: Site,
    template: str,
    status: int = 200,
    *,
    error: str = "",
    email: str = "",
    next: str = "",
    field: str = "",
) -> Response:
    return site.page(
        request,
        template,
        status=status,
        error=error,
        email=email,
        next=next,
        field=field,
        shortest=SHORTEST_PASSWORD,
    )
