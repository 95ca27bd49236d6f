"""The control routes below /sandbox: what only a sandbox has. Programs get JSON, forms are sent back to the index."""

from collections.abc import Callable
from dataclasses import asdict
from typing import Any
from urllib.parse import parse_qsl

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from stripe_sandbox import payment_controls, subscription_controls
from stripe_sandbox.errors import StripeError
from stripe_sandbox.html import page, see
from stripe_sandbox.sandbox import Sandbox
from stripe_sandbox.store import public

Act = Callable[[Sandbox, dict[str, str], str], Any]
"""What a control does: the sandbox, the fields, the id in the path (or ""). Returns what is answered."""


def disturb(sandbox: Sandbox, fields: dict[str, str], _: str) -> Any:
    """Let deliveries go wrong: `does`, and where wanted `amount`, `types`, `endpoint`, `every`, `times`."""
    times = fields.get("times", "").strip()
    sandbox.deliveries.disturb(
        fields.get("does", ""),
        amount=float(fields.get("amount", "").strip() or 1),
        types=fields.get("types", "").replace(",", " ").split(),
        endpoint=fields.get("endpoint", "").strip() or None,
        every=int(fields.get("every", "").strip() or 1),
        times=int(times) if times else None,
    )
    return state(sandbox)


def calm(sandbox: Sandbox, fields: dict[str, str], _: str) -> Any:
    """Let no delivery go wrong any more; `seed` makes what follows repeatable."""
    seed = fields.get("seed", "").strip()
    sandbox.deliveries.calm(int(seed) if seed else None)
    return state(sandbox)


def pause(sandbox: Sandbox, _: dict[str, str], __: str) -> Any:
    """Deliver nothing until it is resumed."""
    sandbox.deliveries.pause()
    return state(sandbox)


def resume(sandbox: Sandbox, _: dict[str, str], __: str) -> Any:
    """Deliver again."""
    sandbox.deliveries.resume()
    return state(sandbox)


def redeliver(sandbox: Sandbox, fields: dict[str, str], id: str) -> Any:
    """Deliver an event once more, to all who want it or to `endpoint`."""
    return {"deliveries": sandbox.deliveries.redeliver(id, fields.get("endpoint") or None)}


def fail(sandbox: Sandbox, fields: dict[str, str], _: str) -> Any:
    """Let calls fail: `fails`, and where wanted `times` (`all` for ever), `method`, `path`, `executed`, `seconds`."""
    times = fields.get("times", "").strip() or "1"
    sandbox.outages.fail(
        fields.get("fails", ""),
        times=None if times == "all" else int(times),
        method=fields.get("method") or None,
        path=fields.get("path") or "/",
        executed=fields.get("executed") == "true",
        seconds=float(fields.get("seconds", "").strip() or 60),
    )
    return outages(sandbox)


def clear(sandbox: Sandbox, _: dict[str, str], __: str) -> Any:
    """Let every call through again."""
    sandbox.outages.clear()
    return outages(sandbox)


def outages(sandbox: Sandbox) -> dict[str, Any]:
    """The outages that are still to come."""
    return {"outages": [asdict(outage) for outage in sandbox.outages]}


def state(sandbox: Sandbox) -> dict[str, Any]:
    """How deliveries stand."""
    deliveries = sandbox.deliveries
    return {
        "paused": deliveries.paused,
        "waiting": deliveries.waiting(),
        "knobs": [asdict(knob) for knob in deliveries.knobs],
    }


def routes(sandbox: Sandbox) -> list[BaseRoute]:
    """The control routes, all POST, and two to GET that say how deliveries stand and which outages are to come."""
    acts: dict[str, Act] = {
        "/sandbox/deliveries/disturb": disturb,
        "/sandbox/deliveries/calm": calm,
        "/sandbox/deliveries/pause": pause,
        "/sandbox/deliveries/resume": resume,
        "/sandbox/events/{id}/redeliver": redeliver,
        "/sandbox/outages": fail,
        "/sandbox/outages/clear": clear,
        **payment_controls.CONTROLS,
        **subscription_controls.CONTROLS,
    }
    return [
        Route("/sandbox/deliveries", lambda _: JSONResponse(state(sandbox)), methods=["GET"]),
        Route("/sandbox/outages", lambda _: JSONResponse(outages(sandbox)), methods=["GET"]),
        *(Route(path, _handler(sandbox, act), methods=["POST"]) for path, act in acts.items()),
    ]


def _handler(sandbox: Sandbox, act: Act) -> Callable[[Request], Any]:
    async def handle(request: Request) -> Response:
        fields = dict(parse_qsl((await request.body()).decode(errors="replace")))
        is_person = "text/html" in request.headers.get("accept", "")
        try:
            answer = act(sandbox, fields, request.path_params.get("id", ""))
        except (StripeError, ValueError) as error:
            status = error.status if isinstance(error, StripeError) else 400
            if is_person:
                return page(
                    "message.html",
                    status=status,
                    heading="That was refused",
                    text=str(error),
                    link="/sandbox/",
                    link_text="Back to the sandbox",
                )
            body = error.body if isinstance(error, StripeError) else {"error": {"message": str(error)}}
            return JSONResponse(body, status)
        return see("/sandbox/") if is_person else JSONResponse(public(answer))

    return handle
