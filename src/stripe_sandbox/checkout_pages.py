"""The hosted checkout page: the order with its quantities and promotion code, the payment form, the bank's page, and
the way back from an expired session."""

from collections.abc import Callable

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from stripe_sandbox import (
    agenda,
    checkout,
    checkout_order,
    checkout_recovery,
    checkout_sessions,
    clocks,
    payment_methods,
    presentment,
    tax_rates,
)
from stripe_sandbox.cards import BadField
from stripe_sandbox.errors import StripeError
from stripe_sandbox.html import fields, page, see
from stripe_sandbox.money import shown
from stripe_sandbox.sandbox import Sandbox
from stripe_sandbox.store import Object

_NOT_AUTHENTICATED = (
    "We are unable to authenticate your payment method. Please choose a different payment method and try again."
)
_CHANGED = "There is no payment to confirm: the order has changed, or none was begun. Nothing was charged. Pay again."


def routes(sandbox: Sandbox) -> list[BaseRoute]:
    """The pages of checkout sessions, and the links that bring expired ones back."""
    pages = CheckoutPages(sandbox)
    return [
        Route("/c/pay/{id}", pages.show, methods=["GET"]),
        Route("/c/pay/{id}", pages.pay, methods=["POST"]),
        Route("/c/pay/{id}/quantity", pages.set_quantity, methods=["POST"]),
        Route("/c/pay/{id}/promotion_code", pages.set_code, methods=["POST"]),
        Route("/c/pay/{id}/authenticate", pages.show_bank, methods=["GET"]),
        Route("/c/pay/{id}/authenticate", pages.answer_bank, methods=["POST"]),
        Route("/r/{token}", pages.recover, methods=["GET"]),
    ]


class CheckoutPages:
    """The handlers, around one sandbox."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox

    async def show(self, request: Request) -> Response:
        """GET: the payment form of an open session, or what became of it."""
        session = self._session(request)
        return _closed(session) if session is None or session["status"] != "open" else _form(session)

    async def pay(self, request: Request) -> Response:
        """POST: pay, and go where the seller wants the buyer to go."""
        typed = await fields(request)
        session = self._session(request)
        if session is None or session["status"] != "open":
            return _closed(session)
        session, gone = checkout_order.checked(self._sandbox, session)
        if gone:
            return _form(checkout_order.keep(self._sandbox, session), typed, message=gone)
        try:
            return self._pay(session, typed)
        except checkout.NotOpen:
            return _closed(self._sandbox.get(session["id"], "checkout.session"))

    def _pay(self, session: Object, typed: dict[str, str]) -> Response:
        id, email, name = session["id"], typed.get("email", "").strip(), typed.get("name", "").strip()
        errors = {} if "@" in email else {"email": "Your e-mail is incomplete."}
        method: Object | None = None
        by_bank = typed.get("payment_method") == "bank" and session["mode"] == "payment"
        if not by_bank and not checkout.needs_no_card(session):
            try:
                method = payment_methods.from_form(
                    self._sandbox, typed.get("card_number", ""), typed.get("exp", ""), typed.get("cvc", "")
                )
            except BadField as wrong:
                errors[wrong.field] = str(wrong)
        if errors:
            return _form(session, typed, errors, next(iter(errors.values())))
        if method is None:
            how = checkout.order_for_nothing if checkout.needs_no_card(session) else checkout.pay_by_bank
            how(self._sandbox, id, email, name)
            return _to(session["success_url"], id)
        own = typed.get("currency", session["currency"]) != session["currency"]
        intent = checkout.pay_by_card(self._sandbox, id, method, email, name, in_own_currency=own)
        if intent["status"] == "requires_action":
            return see(f"/c/pay/{id}/authenticate")
        if intent["status"] == "requires_payment_method":
            return _form(session, typed, message=_why(intent))
        return _to(session["success_url"], id)

    async def set_quantity(self, request: Request) -> Response:
        """POST: take `quantity` of the line `line`."""
        given = await fields(request)
        typed = given.get("quantity", "")
        quantity = int(typed) if typed.isdecimal() and len(typed) < 10 else -1
        return self._change(
            request, lambda s: checkout_order.set_quantity(self._sandbox, s, given.get("line", ""), quantity)
        )

    async def set_code(self, request: Request) -> Response:
        """POST: use the promotion code `code`, or with `remove` none."""
        given = await fields(request)
        if "remove" in given:
            return self._change(request, lambda s: (checkout_order.remove_code(self._sandbox, s), ""))
        code = given.get("code", "")
        return self._change(request, lambda s: (checkout_order.apply_code(self._sandbox, s, code), ""), code)

    def _change(
        self, request: Request, change: Callable[[Object], tuple[Object, str]], code: str | None = None
    ) -> Response:
        """Change the order, and show it again with what is to be told.

        What is wrong is said where the buyer typed `code`, else above all.
        """
        session = self._session(request)
        if session is None or session["status"] != "open":
            return _closed(session)
        try:
            session, told = change(session)
        except checkout_order.Refused as refused:
            if code is not None and session["allow_promotion_codes"]:
                return _form(session, {"code": code}, {"code": str(refused)}, status=400)
            return _form(session, message=str(refused), status=400)
        return _form(session, message=told, status=200) if told else see(f"/c/pay/{session['id']}")

    async def show_bank(self, request: Request) -> Response:
        """GET: the bank's 3-D Secure page."""
        session = self._session(request)
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
            found = self._sandbox.store.get(id, "checkout.session")
            return (
                _form(found, message=_CHANGED, status=409) if found and found["status"] == "open" else _closed(found)
            )
        session = self._sandbox.get(id, "checkout.session")
        if intent["status"] == "requires_payment_method":
            return _form(session, message=_why(intent))
        return _to(session["success_url"], id)

    async def recover(self, request: Request) -> Response:
        """GET: a copy of an expired session, open to be paid."""
        agenda.run_due(self._sandbox)
        expired = checkout_recovery.find(self._sandbox, request.path_params["token"])
        if expired is None:
            return _closed(None)
        with self._sandbox.store.transaction(), clocks.in_time_of(self._sandbox, expired["id"]):
            if checkout_recovery.is_over(self._sandbox, expired):
                return _no_way_back(expired, 410, "This link has expired")
            try:
                session = checkout_sessions.recover(self._sandbox, expired)
            except StripeError:
                return _no_way_back(expired, 410, "What you ordered is not available any more")
        return see(session["url"])

    def _session(self, request: Request) -> Object | None:
        """The session that a page is of, as it is by now."""
        agenda.run_due(self._sandbox)
        return self._sandbox.store.get(request.path_params["id"], "checkout.session")


def _form(
    session: Object,
    typed: dict[str, str] | None = None,
    errors: dict[str, str] | None = None,
    message: str = "",
    status: int = 402,
) -> Response:
    """The payment form; what was typed stays, but for the card's number and code. `status` is that of a refusal."""
    details = session["customer_details"] or {}
    known = {"email": details.get("email") or "", "name": details.get("name") or ""}
    lines = session["_line_items"]
    recurring = lines[0]["price"]["recurring"] if lines else None
    return page(
        "checkout.html",
        status=status if message or errors else 200,
        session=session,
        lines=[_line(session, line) for line in lines],
        total=_total(session),
        interval=recurring["interval"] if recurring else None,
        needs_no_card=checkout.needs_no_card(session),
        **({} if session["mode"] == "setup" else _sums(session)),
        typed={"exp": "", "payment_method": "card", "code": "", **known, **(typed or {})},
        errors=errors or {},
        message=message,
    )


def _line(session: Object, line: Object) -> Object:
    """A line of the order with its amounts as text, and where it can be changed its limits."""
    each = shown(line["price"]["unit_amount"], line["currency"])
    least, most = checkout_order.limits(session, line) if line["adjustable_quantity"] else (None, None)
    return {
        **line,
        "amount": shown(line["amount_subtotal"], line["currency"]),
        "each": each,
        "min": least,
        "max": most,
    }


def _sums(session: Object) -> Object:
    """What stands between the lines and the total, and the total in the buyer's own currency."""
    currency, details, discount = session["currency"], session["total_details"], session.get("_discount")
    own = presentment.offered(session)
    return {
        "subtotal": shown(session["amount_subtotal"], currency),
        "discount": discount and {**_named(discount), "amount": shown(-details["amount_discount"], currency)},
        "takes_codes": bool(session["allow_promotion_codes"]),
        "taxes": _taxes(session),
        "own": own and {**own, "text": shown(own["presentment_amount"], own["presentment_currency"])},
    }


def _taxes(session: Object) -> list[Object]:
    """What is told of tax: how much it is, and of a rate that the seller gave which."""
    currency = session["currency"]
    if session["automatic_tax"]["enabled"]:
        return [{"name": "Tax", "amount": shown(session["total_details"]["amount_tax"], currency)}]
    taxes = session["_taxes"]
    return [{"name": tax_rates.name(tax["rate"]), "amount": shown(tax["amount"], currency)} for tax in taxes]


def _named(discount: Object) -> Object:
    """What a discount is called, and how much it is."""
    coupon = discount["_coupon"]
    percent = coupon["percent_off"]
    much = f"{percent:g}% off" if percent is not None else f"{shown(coupon['amount_off'], coupon['currency'])} off"
    return {"name": discount["_letters"] or coupon["name"] or coupon["id"], "much": much}


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
    return _no_way_back(session, 200, "This checkout has expired")


def _no_way_back(session: Object, status: int, heading: str) -> Response:
    return page(
        "message.html",
        status=status,
        heading=heading,
        text="Nothing was paid. Go back to the shop and start again.",
        link=session["cancel_url"],
        link_text="Return to the shop",
    )


def _success(url: str, id: str) -> str:
    return url.replace("{CHECKOUT_SESSION_ID}", id)


def _to(url: str, id: str) -> Response:
    return see(_success(url, id))
