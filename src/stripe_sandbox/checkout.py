"""Checkout sessions: created by the seller, paid by the buyer at the hosted page, expired by either or by time."""

from stripe import params

from stripe_sandbox import (
    clocks,
    lists,
    operations,
    payment_methods,
    payment_shapes,
    payments,
    setup_intents,
    shapes,
)
from stripe_sandbox.billing import collection, subscriptions
from stripe_sandbox.card_table import card_of
from stripe_sandbox.errors import StripeError, missing
from stripe_sandbox.ids import new_id
from stripe_sandbox.money import MINIMUM
from stripe_sandbox.sandbox import Sandbox
from stripe_sandbox.store import Object


class NotOpen(Exception):
    """The session was paid or has expired."""


def create(sandbox: Sandbox, given: Object) -> Object:
    """An open session. Raises StripeError for what Stripe would refuse."""
    mode = given.get("mode")
    if mode not in ("payment", "subscription", "setup"):
        raise StripeError("You must provide one of `payment`, `subscription` or `setup` as `mode`.", param="mode")
    if not given.get("success_url"):
        raise StripeError("Missing required param: success_url.", code="parameter_missing", param="success_url")
    lines = [_line(sandbox, n, line, mode) for n, line in enumerate(given.get("line_items") or [])]
    if mode == "setup" and lines:
        raise StripeError("You can not pass `line_items` in `setup` mode.", param="line_items")
    required = "currency" if mode == "setup" else "line_items"
    if not given.get(required):
        raise StripeError(f"Missing required param: {required}.", code="parameter_missing", param=required)
    customer_id = given.get("customer")
    if customer_id and given.get("customer_email"):
        raise StripeError("You may only specify one of these parameters: customer, customer_email.", param="customer")
    customer = sandbox.get(customer_id, "customer", param="customer", status=400) if customer_id else None
    now = sandbox.now()
    expires_at = given.get("expires_at")
    if expires_at is not None and not now + 1700 <= expires_at <= now + 86_400 + 60:
        raise StripeError(
            "The `expires_at` timestamp must be between 30 minutes and 24 hours from Checkout Session creation.",
            param="expires_at",
        )
    total = sum(line["amount_total"] for line in lines)
    if total < MINIMUM and mode != "setup":
        raise StripeError(
            "The Checkout Session's total amount due must add up to at least $0.50 USD",
            code="amount_too_small",
            saved=True,
        )
    id = new_id("cs_test")
    session = shapes.checkout_session(id, now, f"{sandbox.url}/c/pay/{id}", lines, given)
    session["_due"] = session["expires_at"]
    if customer is not None:
        session["_clock"] = customer["test_clock"]
        session["customer_details"] = shapes.customer_details(customer["email"], customer["name"])
    if mode == "setup":
        wanted = {**(given.get("setup_intent_data") or {}), **({"customer": customer_id} if customer_id else {})}
        session["setup_intent"] = session["_intent"] = setup_intents.create(sandbox, wanted)["id"]
    elif _begins_with_trial(session):
        # Nothing is due today: the card is only saved, for when the trial ends.
        lines = [{**line, "amount_subtotal": 0, "amount_total": 0} for line in lines]
        session |= {"amount_subtotal": 0, "amount_total": 0, "_line_items": lines}
    sandbox.store.put(session)
    return session


def update(sandbox: Sandbox, session: Object, given: Object) -> Object:
    """Change a session's metadata."""
    session = {**session, "metadata": {**session["metadata"], **(given.get("metadata") or {})}}
    sandbox.store.put(session)
    return session


def expire(sandbox: Sandbox, session: Object) -> Object:
    """Close an open session. Raises StripeError when it is not open."""
    if session["status"] != "open":
        raise StripeError(
            f'Only Checkout Sessions with a status in ["open"] can be expired. This Checkout Session has a status of '
            f"`{session['status']}`.",
            saved=True,
        )
    return _expire(sandbox, session)


def wake(sandbox: Sandbox, session: Object) -> None:
    """An open session's time is over."""
    _expire(sandbox, session)


def pay_by_card(sandbox: Sandbox, session_id: str, method: Object, email: str, name: str) -> Object:
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
        session, intent = _intent(sandbox, session, customer)
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


def _line(sandbox: Sandbox, n: int, given: Object, mode: str) -> Object:
    if not given.get("price"):
        raise StripeError(
            "The sandbox sells by price id: give `price`.", code="parameter_missing", param=f"line_items[{n}][price]"
        )
    price = sandbox.store.get(given["price"], "price")
    if price is None:
        raise missing("price", given["price"], param=f"line_items[{n}][price]", status=400)
    if not price["active"]:
        raise StripeError(
            "The price specified is inactive. This field only accepts active prices.", param=f"line_items[{n}][price]"
        )
    if mode == "payment" and price["type"] == "recurring":
        raise StripeError(
            "You specified `payment` mode but passed a recurring price. Either switch to `subscription` mode or use "
            "only one-time prices.",
            param="mode",
        )
    if mode == "subscription" and price["type"] == "one_time":
        raise StripeError(
            "You must provide at least one recurring price in `subscription` mode when using prices.", param="mode"
        )
    product = sandbox.get(price["product"], "product")
    return shapes.line_item(new_id("li"), price, product, given.get("quantity", 1))


def _open(sandbox: Sandbox, session_id: str) -> Object:
    session = sandbox.get(session_id, "checkout.session")
    if session["status"] == "open" and session["expires_at"] <= sandbox.now():
        session = _expire(sandbox, session)
    if session["status"] != "open":
        raise NotOpen
    return session


def _expire(sandbox: Sandbox, session: Object) -> Object:
    session = {**session, "status": "expired", "url": None, "_due": None}
    sandbox.store.put(session)
    sandbox.emit("checkout.session.expired", session)
    return session


def _customer(sandbox: Sandbox, session: Object, email: str, name: str) -> str | None:
    """The session's customer; one is made if there is none and one is needed."""
    customer: str | None = session["customer"] or session.get("_customer")
    is_needed = session["mode"] == "subscription" or session["_payment"].get("setup_future_usage")
    if customer is not None or not (is_needed or session["customer_creation"] == "always"):
        return customer
    made = shapes.customer(new_id("cus"), sandbox.now(), {"email": email, "name": name})
    sandbox.store.put(made)
    sandbox.emit("customer.created", made)
    id: str = made["id"]
    return id


def _begins_with_trial(session: Object) -> bool:
    """Whether a session is for a subscription that costs nothing at first."""
    given = session["_subscription"]
    return bool(given.get("trial_period_days") or given.get("trial_end"))


def _only_saves(session: Object) -> bool:
    """Whether its buyer leaves a card and pays nothing today."""
    return session["mode"] == "setup" or _begins_with_trial(session)


def _intent(sandbox: Sandbox, session: Object, customer: str | None) -> tuple[Object, Object]:
    """The session's payment intent, made at the first attempt to pay."""
    if session.get("_intent"):
        return session, sandbox.get(session["_intent"], "payment_intent")
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
    customer_id: str,
    method: Object,
    intent: Object | None = None,
    *,
    authenticated: bool = False,
) -> Object:
    """Begin what is subscribed to, paid with `intent` if something is due. The session is returned, not kept."""
    customer = sandbox.get(customer_id, "customer")
    line = session["_line_items"][0]
    given = {
        **session["_subscription"],
        "items": [{"price": line["price"]["id"], "quantity": line["quantity"]}],
        "default_payment_method": method["id"],
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
    if not session.get("_intent"):
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
    payment = session["mode"] == "payment"
    unpaid = "no_payment_required" if _only_saves(session) else "unpaid"
    session = {
        **session,
        "status": "complete",
        "payment_status": "paid" if paid else unpaid,
        "payment_intent": session["_intent"] if payment else None,
        "customer_details": shapes.customer_details(email, name),
        "url": None,
        "_due": None,
    }
    sandbox.store.put(session)
    sandbox.emit("checkout.session.completed", session)


def _lines(sandbox: Sandbox, id: str, given: Object) -> Object:
    session = sandbox.get(id, "checkout.session")
    return lists.page(session["_line_items"], given, f"/v1{_SESSIONS}/{id}/line_items")


def _all_lines(_: Sandbox, session: Object) -> Object:
    return shapes.list_of(session["_line_items"], f"/v1{_SESSIONS}/{session['id']}/line_items")


_SESSIONS = "/checkout/sessions"
INCLUDES = {("checkout.session", "line_items"): _all_lines}
OPERATIONS = [
    operations.create(_SESSIONS, params.checkout.SessionCreateParams, create),
    operations.list_of(
        "checkout.session",
        _SESSIONS,
        params.checkout.SessionListParams,
        {"customer_details": lambda s, wanted: (s["customer_details"] or {}).get("email") == wanted.get("email")},
    ),
    operations.retrieve("checkout.session", _SESSIONS, params.checkout.SessionRetrieveParams),
    operations.Operation(
        "POST",
        f"{_SESSIONS}/{{id}}",
        params.checkout.SessionUpdateParams,
        lambda s, id, given: update(s, s.get(id, "checkout.session"), given),
    ),
    operations.Operation(
        "POST",
        f"{_SESSIONS}/{{id}}/expire",
        params.checkout.SessionExpireParams,
        lambda s, id, _: expire(s, s.get(id, "checkout.session")),
    ),
    operations.Operation("GET", f"{_SESSIONS}/{{id}}/line_items", params.checkout.SessionListLineItemsParams, _lines),
]
