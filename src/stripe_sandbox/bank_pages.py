"""The bank's 3-D Secure page for payment and setup intents that the API made. `pages` has that of the checkout."""

from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from stripe_sandbox import clocks, payment_intents, setup_intents
from stripe_sandbox.billing import collection
from stripe_sandbox.html import fields, page, see
from stripe_sandbox.money import shown
from stripe_sandbox.sandbox import Sandbox
from stripe_sandbox.store import Object

PATH = "/sandbox/authenticate/{id}"


def routes(sandbox: Sandbox) -> list[BaseRoute]:
    """The page, and the answer given there."""

    async def show(request: Request) -> Response:
        intent = _asking(sandbox, request)
        if intent is None:
            return _nothing_asked()
        total = shown(intent["amount"], intent["currency"]) if intent["object"] == "payment_intent" else None
        return page("authenticate.html", total=total)

    async def answer(request: Request) -> Response:
        confirmed = (await fields(request)).get("answer") == "complete"
        with sandbox.store.transaction(), clocks.in_time_of(sandbox, request.path_params["id"]):
            intent = _asking(sandbox, request)
            if intent is None:
                return _nothing_asked()
            back = (intent["next_action"].get("redirect_to_url") or {}).get("return_url")
            kind = intent["object"]
            family = payment_intents if kind == "payment_intent" else setup_intents
            intent = family.authenticate(sandbox, intent, confirmed=confirmed)
            collection.follow(sandbox, intent)
        succeeded = intent["status"] != "requires_payment_method"
        if back is None:
            return page(
                "message.html",
                heading="Thank you" if succeeded else "That did not work",
                text="You can close this page." if succeeded else "Nothing was done. You can close this page.",
            )
        said = {
            kind: intent["id"],
            f"{kind}_client_secret": intent["client_secret"],
            "redirect_status": "succeeded" if succeeded else "failed",
        }
        return see(f"{back}{'&' if '?' in back else '?'}{urlencode(said)}")

    return [Route(PATH, show, methods=["GET"]), Route(PATH, answer, methods=["POST"])]


def _asking(sandbox: Sandbox, request: Request) -> Object | None:
    """The intent of that address, while its bank waits for an answer."""
    found = sandbox.store.get(request.path_params["id"])
    if found is None or found["object"] not in ("payment_intent", "setup_intent"):
        return None
    return found if found["status"] == "requires_action" else None


def _nothing_asked() -> Response:
    return page(
        "message.html",
        status=404,
        heading="There is nothing to confirm",
        text="The bank does not wait for an answer here, or has had it. You can close this page.",
    )
