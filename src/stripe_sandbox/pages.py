"""What people see: the hosted checkout page, the bank's confirmation page, and the sandbox's own index."""

from datetime import UTC, datetime

from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles

from stripe_sandbox import agenda, checkout, controls, payment_controls, payment_methods
from stripe_sandbox.cards import BadField
from stripe_sandbox.errors import StripeError
from stripe_sandbox.html import HERE, fields, page, see
from stripe_sandbox.knobs import Does
from stripe_sandbox.money import shown
from stripe_sandbox.sandbox import Sandbox
from stripe_sandbox.store import Object

_NOT_AUTHENTICATED = (
    "We are unable to authenticate your payment method. Please choose a different payment method and try again."
)


def routes(sandbox: Sandbox) -> list[BaseRoute]:
    """The pages, and the control routes below /sandbox."""
    pages = Pages(sandbox)
    return [
        Route("/c/pay/{id}", pages.show, methods=["GET"]),
        Route("/c/pay/{id}", pages.pay, methods=["POST"]),
        Route("/c/pay/{id}/authenticate", pages.show_bank, methods=["GET"]),
        Route("/c/pay/{id}/authenticate", pages.answer_bank, methods=["POST"]),
        Route("/sandbox/bank_payments/{id}", pages.settle, methods=["POST"]),
        Route("/sandbox/clock", pages.clock, methods=["POST"]),
        Mount("/sandbox/static", StaticFiles(directory=HERE / "static")),
        Route("/sandbox/", pages.index, methods=["GET"]),
        Route("/", lambda _: RedirectResponse("/sandbox/"), methods=["GET"]),
    ]


class Pages:
    """The handlers, around one sandbox."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox

    async def show(self, request: Request) -> Response:
        """GET: the payment form of an open session, or what became of it."""
        agenda.run_due(self._sandbox)
        session = self._sandbox.store.get(request.path_params["id"], "checkout.session")
        if session is None or session["status"] != "open":
            return _closed(session)
        details = session["customer_details"] or {}
        return _form(session, {"email": details.get("email") or "", "name": details.get("name") or ""})

    async def pay(self, request: Request) -> Response:
        """POST: pay, and go where the seller wants the buyer to go."""
        id = request.path_params["id"]
        session = self._sandbox.store.get(id, "checkout.session")
        if session is None or session["status"] != "open":
            return _closed(session)
        typed = await fields(request)
        email, name = typed.get("email", "").strip(), typed.get("name", "").strip()
        errors = {} if "@" in email else {"email": "Your e-mail is incomplete."}
        try:
            if typed.get("payment_method") == "bank" and session["mode"] == "payment":
                if errors:
                    return _form(session, typed, errors, "Please check what you typed.")
                checkout.pay_by_bank(self._sandbox, id, email, name)
                return _to(session["success_url"], id)
            try:
                method = payment_methods.from_form(
                    self._sandbox, typed.get("card_number", ""), typed.get("exp", ""), typed.get("cvc", "")
                )
            except BadField as wrong:
                errors[wrong.field] = str(wrong)
            if errors:
                return _form(session, typed, errors, next(iter(errors.values())))
            intent = checkout.pay_by_card(self._sandbox, id, method, email, name)
        except checkout.NotOpen:
            return _closed(self._sandbox.get(id, "checkout.session"))
        if intent["status"] == "requires_action":
            return see(f"/c/pay/{id}/authenticate")
        if intent["status"] == "requires_payment_method":
            return _form(session, typed, {}, _why(intent))
        return _to(session["success_url"], id)

    async def show_bank(self, request: Request) -> Response:
        """GET: the bank's 3-D Secure page."""
        session = self._sandbox.store.get(request.path_params["id"], "checkout.session")
        if session is None or session["status"] != "open":
            return _closed(session)
        return page("authenticate.html", total=_total(session))

    async def answer_bank(self, request: Request) -> Response:
        """POST: the buyer confirmed, or did not."""
        id = request.path_params["id"]
        given = await fields(request)
        try:
            intent = checkout.authenticate(self._sandbox, id, confirmed=given.get("answer") == "complete")
        except (checkout.NotOpen, StripeError, KeyError):
            return _closed(self._sandbox.store.get(id, "checkout.session"))
        session = self._sandbox.get(id, "checkout.session")
        if intent["status"] == "requires_payment_method":
            return _form(session, {}, {}, _why(intent))
        return _to(session["success_url"], id)

    async def settle(self, request: Request) -> Response:
        """POST: let a delayed bank payment arrive (`outcome=succeed`) or fail (`outcome=fail`)."""
        given = await fields(request)
        try:
            checkout.settle_bank_payment(
                self._sandbox, request.path_params["id"], succeeds=given.get("outcome") == "succeed"
            )
        except StripeError as error:
            return JSONResponse(error.body, error.status)
        return see("/sandbox/")

    async def clock(self, request: Request) -> Response:
        """POST: move the sandbox's clock forward by `advance` seconds."""
        given = await fields(request)
        try:
            seconds = int(given["advance"])
        except (KeyError, ValueError):
            return JSONResponse({"error": {"message": "Give advance=SECONDS."}}, 400)
        if seconds < 0:
            return JSONResponse({"error": {"message": "The clock only goes forward."}}, 400)
        self._sandbox.advance(seconds)
        return JSONResponse({"now": self._sandbox.now()})

    async def index(self, _request: Request) -> Response:
        """GET: sessions, delayed payments, and events with their delivery."""
        store = self._sandbox.store
        deliveries: dict[str, list[str]] = {}
        for event_id, attempts, due, answer in store.connection.execute(
            "SELECT event_id, attempts, due, answer FROM deliveries ORDER BY id DESC LIMIT 200"
        ):
            state = answer if due is None else f"{answer or 'waiting'}, try {attempts + 1} follows"
            deliveries.setdefault(event_id, []).append(state or "not delivered")
        sessions = [
            {**s, "short": f"{s['id'][:16]}…{s['id'][-4:]}", "amount": _total(s) or "-"}
            for s in store.newest_first("checkout.session")[:20]
        ]
        waiting = [
            {"id": i["id"], "text": shown(i["amount"], i["currency"])}
            for i in store.newest_first("payment_intent", lambda i: bool(i["status"] == "processing"))
        ]
        events = [
            {**e, "delivery": "; ".join(deliveries.get(e["id"], ["no endpoint"]))}
            for e in store.newest_first("event")[:50]
        ]
        now = datetime.fromtimestamp(self._sandbox.now(), UTC)
        return page(
            "index.html",
            sessions=sessions,
            waiting=waiting,
            **payment_controls.overview(self._sandbox),
            events=events,
            deliveries=controls.state(self._sandbox),
            kinds=list(Does),
            now=f"{now:%Y-%m-%d %H:%M} UTC",
        )


def _form(
    session: Object, typed: dict[str, str], errors: dict[str, str] | None = None, message: str = ""
) -> Response:
    """The payment form; what was typed stays, but for the card's number and code."""
    lines = session["_line_items"]
    recurring = lines[0]["price"]["recurring"] if lines else None
    return page(
        "checkout.html",
        status=402 if message else 200,
        session=session,
        lines=[{**line, "amount": shown(line["amount_total"], line["currency"])} for line in lines],
        total=_total(session),
        interval=recurring["interval"] if recurring else None,
        typed={"email": "", "name": "", "exp": "", "payment_method": "card", **typed},
        errors=errors or {},
        message=message,
    )


def _total(session: Object) -> str | None:
    """What the buyer pays; nothing where a card is only saved."""
    return None if session["mode"] == "setup" else shown(session["amount_total"], session["currency"])


def _why(intent: Object) -> str:
    """What to tell a buyer whose card was not taken."""
    error = intent["last_setup_error"] if intent["object"] == "setup_intent" else intent["last_payment_error"]
    message: str = error["message"]
    return message if error["type"] == "card_error" else _NOT_AUTHENTICATED


def _closed(session: Object | None) -> Response:
    if session is None:
        return page(
            "message.html",
            status=404,
            heading="There is no such checkout",
            text="The address is not one of this sandbox. Nothing was paid. Go back to the shop and start again.",
        )
    if session["status"] == "complete":
        return page(
            "message.html",
            heading="You're all done here",
            text="This checkout has been completed. You were not charged again.",
            link=_success(session["success_url"], session["id"]),
            link_text="Return to the shop",
        )
    return page(
        "message.html",
        heading="This checkout has expired",
        text="Nothing was paid. Go back to the shop and start again.",
        link=session["cancel_url"],
        link_text="Return to the shop",
    )


def _success(url: str, id: str) -> str:
    return url.replace("{CHECKOUT_SESSION_ID}", id)


def _to(url: str, id: str) -> Response:
    return see(_success(url, id))
