"""What every page needs in its hand: the service, who is signed in, and how to render."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from fastapi import Depends, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from tallystick.periodically import periodically
from tallystick.service import Tallystick
from tallystick.web import views
from tallystick.web.problems import NotSignedIn, RequestRefused
from tallystick.web.sessions import COOKIE, LIFETIME, Sessions
from tallystick.web.users import User, Users

HERE = Path(__file__).parent

FORGET_SECONDS = 60
"""How often sessions are looked for that have run out."""


@dataclass(frozen=True, slots=True)
class WebSettings:
    """How the standalone service presents itself. `demo` shows the Generate button."""

    base_url: str
    secret_key: str
    demo: bool = False
    sandbox_url: str | None = None

    @property
    def https(self) -> bool:
        """Whether cookies may be Secure; only on this machine are they not."""
        return self.base_url.startswith("https://")


class Site:
    """One standalone service, as its pages see it."""

    def __init__(self, credits: Tallystick, settings: WebSettings) -> None:
        self.credits = credits
        self.settings = settings
        self.templates = Environment(
            loader=FileSystemLoader(HERE / "templates"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self.templates.filters |= {
            "money": views.money,
            "number": views.number,
            "signed": views.signed,
            "day": views.day,
            "moment": views.moment,
            "standing": views.standing,
        }

    @property
    def users(self) -> Users:
        """The users of the open database."""
        return self._users

    @property
    def sessions(self) -> Sessions:
        """The sessions of the open database."""
        return self._sessions

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """For as long as the database is open: knows users and sessions, and forgets sessions that have run out."""
        self._users = Users(self.credits.database, self.credits.clock)
        self._sessions = Sessions(self.credits.database, self.credits.clock, self.settings.secret_key)
        stopping = asyncio.Event()
        forgetting = periodically(
            "sessions", self._sessions.forget, FORGET_SECONDS, stopping, first_in=FORGET_SECONDS
        )
        task = asyncio.create_task(forgetting, name="tallystick sessions")
        try:
            yield
        finally:
            stopping.set()
            await task

    def page(self, request: Request, template: str, *, status: int = 200, **values: Any) -> Response:
        """Render a page, or a part of one."""
        text = self.templates.get_template(template).render(
            site=self.settings,
            user=getattr(request.state, "user", None),
            path=request.url.path,
            **values,
        )
        answer = HTMLResponse(text, status)
        renewed = getattr(request.state, "renewed_token", None)
        if renewed is not None:
            self._set_cookie(answer, renewed)
        return answer

    async def sign_in(self, request: Request, user: User, to: str) -> Response:
        """A fresh session for `user`, whatever session the browser had before."""
        old = request.cookies.get(COOKIE)
        if old is not None:
            await self.sessions.end(old)
        # Also heals an account whose opening was cut short at sign-up.
        await self.credits.open_account(user.account_id)
        answer = RedirectResponse(to, 303)
        self._set_cookie(answer, await self.sessions.start(user.id))
        return answer

    def _set_cookie(self, answer: Response, token: str) -> None:
        answer.set_cookie(
            COOKIE,
            token,
            max_age=int(LIFETIME.total_seconds()),
            httponly=True,
            samesite="lax",
            secure=self.settings.https,
        )


def site_of(request: Request) -> Site:
    """The site that answers this request."""
    site: Site = request.app.state.site
    return site


async def visitor(request: Request, site: Annotated[Site, Depends(site_of)]) -> User | None:
    """Who is signed in, or None."""
    token = request.cookies.get(COOKIE)
    session = None if token is None else await site.sessions.find(token)
    user = None if session is None else await site.users.get(session.user_id)
    request.state.user = user
    if session is not None and session.renewed:
        request.state.renewed_token = token
    return user


async def signed_in_user(user: Annotated[User | None, Depends(visitor)]) -> User:
    """Who is signed in. Raises NotSignedIn."""
    if user is None:
        raise NotSignedIn
    return user


async def signed_in_operator(user: Annotated[User, Depends(signed_in_user)]) -> User:
    """The operator who is signed in. Raises RequestRefused for anybody else."""
    if not user.is_operator:
        raise RequestRefused("operators_only", "This page is for operators. Nothing was changed.")
    return user


TheSite = Annotated[Site, Depends(site_of)]
Visitor = Annotated[User | None, Depends(visitor)]
SignedIn = Annotated[User, Depends(signed_in_user)]
Operator = Annotated[User, Depends(signed_in_operator)]
