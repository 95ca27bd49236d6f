"""The sandbox's own index page: everything that there is, and the forms that make things happen."""

from datetime import UTC, datetime

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles

from stripe_sandbox import controls, payment_controls, subscription_controls
from stripe_sandbox.html import HERE, page
from stripe_sandbox.knobs import Does
from stripe_sandbox.money import shown
from stripe_sandbox.sandbox import Sandbox
from stripe_sandbox.store import Object


def routes(sandbox: Sandbox) -> list[BaseRoute]:
    """The index page, and what pages are made with."""

    async def index(_request: Request) -> Response:
        return page("index.html", **overview(sandbox))

    return [
        Mount("/sandbox/static", StaticFiles(directory=HERE / "static")),
        Route("/sandbox/", index, methods=["GET"]),
        Route("/", lambda _: RedirectResponse("/sandbox/"), methods=["GET"]),
    ]


def overview(sandbox: Sandbox) -> Object:
    """What the index page shows, newest first."""
    return {
        "sessions": [_session(session) for session in sandbox.store.newest_first("checkout.session")[:20]],
        **payment_controls.overview(sandbox),
        **subscription_controls.overview(sandbox),
        "events": _events(sandbox),
        "deliveries": controls.state(sandbox),
        "kinds": list(Does),
        "now": f"{datetime.fromtimestamp(sandbox.now(), UTC):%Y-%m-%d %H:%M} UTC",
    }


def _session(session: Object) -> Object:
    recovery = (session["after_expiration"] or {}).get("recovery") or {}
    return {
        **session,
        "short": f"{session['id'][:16]}…{session['id'][-4:]}",
        "amount": "-" if session["mode"] == "setup" else shown(session["amount_total"], session["currency"]),
        "recovery_url": recovery.get("url"),
    }


def _events(sandbox: Sandbox) -> list[Object]:
    """The latest events, each with what became of its deliveries."""
    deliveries: dict[str, list[str]] = {}
    for event_id, attempts, due, answer in sandbox.store.connection.execute(
        "SELECT event_id, attempts, due, answer FROM deliveries ORDER BY id DESC LIMIT 200"
    ):
        state = answer if due is None else f"{answer or 'waiting'}, try {attempts + 1} follows"
        deliveries.setdefault(event_id, []).append(state or "not delivered")
    return [
        {**event, "delivery": "; ".join(deliveries.get(event["id"], ["no endpoint"]))}
        for event in sandbox.store.newest_first("event")[:50]
    ]
