"""The bank's 3-D Secure page for payment and setup intents that the API made. `pages` has that of the checkout."""

from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from stripe_sandbox import payment_intents
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
        return page("authenticate.html", total=shown(intent["amount"], intent["currency"]))

    async def answer(request: Request) -> Response:
        confirmed = (await fields(request)).get("answer") == "complete"
        with sandbox.store.transaction():
            intent = _asking(sandbox, request)
            if intent is None:
                return _nothing_asked()
            back = (intent["next_action"].get("redirect_to_url") or {}).get("return_url")
            intent = payment_intents.authenticate(sandbox, intent, confirmed=confirmed)
        succeeded = intent["status"] != "requires_payment_method"
        if back is None:
            return page(
                "message.html",
                heading="Thank you" if succeeded else "That did not work",
                text="You can close this page." if succeeded else "Nothing was paid. You can close this page.",
            )
        said = {
            "payment_intent": intent["id"],
            "payment_intent_client_secret": intent["client_secret"],
            "redirect_status": "succeeded" if succeeded else "failed",
        }
        return see(f"{back}{'&' if '?' in back else '?'}{urlencode(said)}")

    return [Route(PATH, show, methods=["GET"]), Route(PATH, answer, methods=["POST"])]


def _asking(sandbox: Sandbox, request: Request) -> Object | None:
    """The intent of that address, while its bank waits for an answer."""
    intent = sandbox.store.get(request.path_params["id"], "payment_intent")
    return intent if intent is not None and intent["status"] == "requires_action" else None


def _nothing_asked() -> Response:
    return page(
        "message.html",
        status=404,
        heading="There is nothing to confirm",
        text="The bank does not wait for an answer here, or has had it. You can close this page.",
    )
