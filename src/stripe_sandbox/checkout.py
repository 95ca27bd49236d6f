"""What buyers do at an open checkout session: pay by card or bank, save a card, or order what costs nothing."""

from stripe_sandbox import (
    checkout_sessions,
    clocks,
    payment_methods,
    payment_shapes,
    payments,
    presentment,
    setup_intents,
    shapes,
)
from stripe_sandbox.billing import collection, discounts, subscriptions
from stripe_sandbox.card_table import card_of
from stripe_sandbox.errors import StripeError
from stripe_sandbox.ids import new_id
from stripe_sandbox.sandbox import Sandbox
from stripe_sandbox.store import Object


class NotOpen(Exception):
    """The session was paid or has expired."""


def pay_by_card(
    sandbox: Sandbox, session_id: str, method: Object, email: str, name: str, *, in_own_currency: bool = False
) -> Object:
    """The buyer pays with a card, or saves it. Returns the payment or setup intent.

    Its `status` says how it went: `succeeded`, `requires_capture`, `requires_action` (3-D Secure), or
    `requires_payment_method` with `last_payment_error` or `last_setup_error`. Raises NotOpen.
    """
    with sandbox.store.transaction(), clocks.in_time_of(sandbox, session_id):
        session = _open(sandbox, session_id)
        customer = _customer(sandbox, session, email, name)
        method["billing_details"] = payment_shapes.billing_details(email, name)
        sandbox.store.put(method)
        url = f"{sandbox.url}/c/pay/{session_id}/authenticate"
        action = {"redirect_to_url": {"return_url": None, "url": url}, "type": "redirect_to_url"}
        if _only_saves(session):
            return _save_card(sandbox, session, customer, method, action)
        shown = presentment.offered(session) if in_own_currency else None
        session, intent = _intent(sandbox, session, customer, shown)
        if card_of(method).asks(off_session=False, set_up=False):
            return payments.attempt(sandbox, intent, method, off_session=False, next_action=action)
        return _pay(sandbox, session, intent, method)


def authenticate(sandbox: Sandbox, session_id: str, *, confirmed: bool) -> Object:
    """The buyer answers the bank's 3-D Secure page. Returns the payment or setup intent. Raises NotOpen."""
    with sandbox.store.transaction(), clocks.in_time_of(sandbox, session_id):
        session = _open(sandbox, session_id)
        kind = "setup_intent" if _only_saves(session) else "payment_intent"
        intent = sandbox.get(session["_intent"], kind)
        if intent["status"] != "requires_action":
            raise NotOpen
        method = sandbox.get(intent["payment_method"], "payment_method")
        if kind == "setup_intent":
            return _saved(sandbox, session, setup_intents.authenticate(sandbox, intent, confirmed=confirmed), method)
        if not confirmed:
            return payments.not_authenticated(sandbox, intent, method)
        return _pay(sandbox, session, intent, method, authenticated=True)


def pay_by_bank(sandbox: Sandbox, session_id: str, email: str, name: str) -> Object:
    """The buyer promises a bank payment: the session is complete and unpaid. Raises NotOpen."""
    with sandbox.store.transaction(), clocks.in_time_of(sandbox, session_id):
        session = _open(sandbox, session_id)
        customer = _customer(sandbox, session, email, name)
        billing = payment_shapes.billing_details(email, name)
        method = payment_shapes.payment_method(
            sandbox.now(), "us_bank_account", billing, payment_shapes.bank_account(), allow_redisplay="limited"
        )
        sandbox.store.put(method)
        session, intent = _intent(sandbox, session, customer)
        intent = payments.wait(sandbox, intent, method)
        _complete(sandbox, session, email, name, paid=False)
        return intent


def order_for_nothing(sandbox: Sandbox, session_id: str, email: str, name: str) -> None:
    """The buyer confirms an order that costs nothing and needs no card. Raises NotOpen."""
    with sandbox.store.transaction(), clocks.in_time_of(sandbox, session_id):
        session = _open(sandbox, session_id)
        customer = _customer(sandbox, session, email, name)
        if session["mode"] == "subscription":
            session = _subscribe(sandbox, session, customer)
        _complete(sandbox, {**session, "customer": customer}, email, name, paid=False)


def needs_no_card(session: Object) -> bool:
    """Whether a session is completed without a card: what is ordered costs nothing today, nor asks for one."""
    return bool(session["amount_total"] == 0 and session["payment_method_collection"] == "if_required")


def settle_bank_payment(sandbox: Sandbox, intent_id: str, *, succeeds: bool) -> Object:
    """Days later: the bank payment arrives, or bounces. Returns the payment intent."""
    with sandbox.store.transaction():
        intent = sandbox.get(intent_id, "payment_intent")
        if intent["status"] != "processing":
            raise StripeError(f"This payment is {intent['status']}, not processing.")
        (session,) = sandbox.store.newest_first("checkout.session", lambda s: bool(s.get("_intent") == intent_id))
        method = sandbox.get(intent["payment_method"], "payment_method")
        if succeeds:
            intent = payments.succeed(sandbox, intent, method)
            session = {**session, "payment_status": "paid"}
        else:
            intent = payments.bounce(sandbox, intent, method)
        sandbox.store.put(session)
        end = "succeeded" if succeeds else "failed"
        sandbox.emit(f"checkout.session.async_payment_{end}", without_lines(session))
        return intent


def without_lines(session: Object) -> Object:
    """A session as it is sent when nobody asked for its line items."""
    return {key: value for key, value in session.items() if key != "line_items"}


def _open(sandbox: Sandbox, session_id: str) -> Object:
    session = sandbox.get(session_id, "checkout.session")
    if session["status"] == "open" and session["expires_at"] <= sandbox.now():
        session = checkout_sessions.close(sandbox, session)
    if session["status"] != "open":
        raise NotOpen
    return session


def _customer(sandbox: Sandbox, session: Object, email: str, name: str) -> str | None:
    """The session's customer; one is made if there is none and one is needed."""
    customer: str | None = session["customer"] or session.get("_customer")
    is_needed = (
        session["mode"] == "subscription"
        or session["_payment"].get("setup_future_usage")
        or session["customer_creation"] == "always"
        or needs_no_card(session)
    )
    if customer is not None or not is_needed:
        return customer
    made = shapes.customer(new_id("cus"), sandbox.now(), {"email": email, "name": name})
    sandbox.store.put(made)
    sandbox.emit("customer.created", made)
    id: str = made["id"]
    return id


def _only_saves(session: Object) -> bool:
    """Whether its buyer leaves a card and pays nothing today."""
    return not session["amount_total"]


def _intent(
    sandbox: Sandbox, session: Object, customer: str | None, shown: Object | None = None
) -> tuple[Object, Object]:
    """The session's payment intent, made at the first attempt to pay; `shown` is what the buyer pays it as."""
    intent = sandbox.store.get(session.get("_intent") or "", "payment_intent")
    if intent is None:
        session, intent = _new_intent(sandbox, session, customer)
    if intent.get("presentment_details") != shown:
        intent.pop("presentment_details", None)
        intent |= {} if shown is None else {"presentment_details": shown}
        sandbox.store.put(intent)
    return session, intent


def _new_intent(sandbox: Sandbox, session: Object, customer: str | None) -> tuple[Object, Object]:
    settings = dict(session["_payment"])
    if session["mode"] == "subscription":
        settings = {"setup_future_usage": "off_session"}
    metadata = settings.pop("metadata", None) or {}
    intent = payments.new_intent(
        sandbox, session["amount_total"], session["currency"], customer, metadata, **settings
    )
    session = {**session, "_intent": intent["id"], "_customer": customer}
    sandbox.store.put(session)
    return session, intent


def _pay(sandbox: Sandbox, session: Object, intent: Object, method: Object, *, authenticated: bool = False) -> Object:
    refusal = card_of(method).decline
    if refusal is not None:
        return payments.decline(sandbox, intent, method, refusal)
    customer_id = session["customer"] or session["_customer"]
    usage = intent["setup_future_usage"]
    if usage is not None and customer_id is not None:
        method = payment_methods.attach(sandbox, method, customer_id, set_up=usage == "off_session")
    if session["mode"] == "payment":
        session = {**session, "customer": customer_id}
        if "presentment_details" in intent:
            session["presentment_details"] = intent["presentment_details"]
        intent = payments.succeed(sandbox, intent, method, authenticated=authenticated)
    else:
        session = _subscribe(sandbox, session, customer_id, method, intent, authenticated=authenticated)
        intent = sandbox.get(intent["id"], "payment_intent")
    billing = method["billing_details"]
    paid = intent["status"] == "succeeded"
    _complete(sandbox, session, billing["email"], billing["name"], paid=paid)
    return intent


def _subscribe(
    sandbox: Sandbox,
    session: Object,
    customer_id: str | None,
    method: Object | None = None,
    intent: Object | None = None,
    *,
    authenticated: bool = False,
) -> Object:
    """Begin what is subscribed to, paid with `intent` if something is due. The session is returned, not kept."""
    customer = sandbox.get(customer_id or "", "customer")
    lines = session["_line_items"]
    given = {
        **session["_subscription"],
        "items": [
            {"price": line["price"]["id"], "quantity": line["quantity"], "tax_rates": line.get("_tax_rates", [])}
            for line in lines
        ],
        "default_tax_rates": session.get("_default_tax_rates", []),
        "default_payment_method": method and method["id"],
        "automatic_tax": session["automatic_tax"],
        "discounts": [{kind: id for kind, id in named.items() if id} for named in session["discounts"]],
    }
    subscription, invoice = subscriptions.begin(sandbox, customer, given)
    if invoice is not None:
        collection.advance(sandbox, invoice, intent, authenticated=authenticated)
    made = {"subscription": subscription["id"], "invoice": invoice and invoice["id"]}
    return {**session, "customer": customer["id"], **made}


def _save_card(
    sandbox: Sandbox, session: Object, customer: str | None, method: Object, next_action: Object
) -> Object:
    """The buyer leaves a card and pays nothing."""
    if sandbox.store.get(session.get("_intent") or "", "setup_intent") is None:
        session["_intent"] = setup_intents.create(sandbox, {"customer": customer, "usage": "off_session"})["id"]
    intent = {**sandbox.get(session["_intent"], "setup_intent"), "customer": customer}
    session = {**session, "_customer": customer}
    sandbox.store.put(session)
    intent = setup_intents.attempt(sandbox, setup_intents.choose(sandbox, intent, method["id"]), next_action)
    return _saved(sandbox, session, intent, method)


def _saved(sandbox: Sandbox, session: Object, intent: Object, method: Object) -> Object:
    if intent["status"] == "succeeded":
        billing = method["billing_details"]
        session = {**session, "customer": session["_customer"]}
        if session["mode"] == "subscription":
            session = _subscribe(sandbox, session, session["_customer"], method)
        _complete(sandbox, session, billing["email"], billing["name"], paid=False)
    return intent


def _complete(sandbox: Sandbox, session: Object, email: str, name: str, *, paid: bool) -> None:
    unpaid = "unpaid" if session["amount_total"] else "no_payment_required"
    is_payment = session["mode"] == "payment"
    if is_payment and session.get("_discount"):
        discounts.redeem(sandbox, session["_discount"])
    session = {
        **session,
        "status": "complete",
        "payment_status": "paid" if paid else unpaid,
        "payment_intent": session["_intent"] if is_payment and session["amount_total"] else None,
        "customer_details": shapes.customer_details(email, name or None),
        "url": None,
        "_due": None,
    }
    sandbox.store.put(session)
    sandbox.emit("checkout.session.completed", session)
