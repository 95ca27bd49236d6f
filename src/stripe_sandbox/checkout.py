"""Checkout sessions: created by the seller, paid by the buyer at the hosted page, expired by either or by time."""

from stripe import params

from stripe_sandbox import lists, operations, payment_shapes, payments, shapes, subscriptions
from stripe_sandbox.cards import Behaviour, TestCard
from stripe_sandbox.errors import StripeError, missing
from stripe_sandbox.ids import new_id
from stripe_sandbox.sandbox import Sandbox
from stripe_sandbox.store import Object

MINIMUM = 50
"""The least a session may come to, in cents."""


class NotOpen(Exception):
    """The session was paid or has expired."""


def create(sandbox: Sandbox, given: Object) -> Object:
    """An open session. Raises StripeError for what Stripe would refuse."""
    mode = given.get("mode")
    if mode not in ("payment", "subscription"):
        raise StripeError("You must provide one of `payment` or `subscription` as `mode`.", param="mode")
    if not given.get("success_url"):
        raise StripeError("Missing required param: success_url.", code="parameter_missing", param="success_url")
    lines = [_line(sandbox, n, line, mode) for n, line in enumerate(given.get("line_items") or [])]
    if not lines:
        raise StripeError("Missing required param: line_items.", code="parameter_missing", param="line_items")
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
    if total < MINIMUM:
        raise StripeError(
            "The Checkout Session's total amount due must add up to at least $0.50 USD",
            code="amount_too_small",
            saved=True,
        )
    id = new_id("cs_test")
    session = shapes.checkout_session(id, now, f"{sandbox.url}/c/pay/{id}", lines, given)
    if customer is not None:
        session["customer_details"] = shapes.customer_details(customer["email"], customer["name"])
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


def expire_due(sandbox: Sandbox) -> None:
    """Close every open session whose time is over."""
    now = sandbox.now()
    for session in sandbox.store.newest_first(
        "checkout.session", lambda s: bool(s["status"] == "open" and s["expires_at"] <= now)
    ):
        _expire(sandbox, session)


def pay_by_card(
    sandbox: Sandbox, session_id: str, card: Object, test_card: TestCard, email: str, name: str
) -> Object:
    """The buyer pays. Returns the payment intent (payment mode), or the session's end (subscription mode).

    Its `status` says how it went: `succeeded`, `requires_action` (3-D Secure), or
    `requires_payment_method` with `last_payment_error`. Raises NotOpen.
    """
    with sandbox.store.transaction():
        session = _open(sandbox, session_id)
        customer = _customer(sandbox, session, email, name)
        method = payment_shapes.payment_method(
            sandbox.now(), "card", customer, payment_shapes.billing_details(email, name), card
        )
        sandbox.store.put(method)
        session, intent = _intent(sandbox, session, customer)
        if test_card.behaviour is Behaviour.DECLINED:
            return payments.decline(sandbox, intent, method, test_card)
        if test_card.behaviour is Behaviour.ASKS:
            return payments.ask(sandbox, intent, method, f"{sandbox.url}/c/pay/{session_id}/authenticate")
        return _pay(sandbox, session, intent, method, email, name)


def authenticate(sandbox: Sandbox, session_id: str, *, confirmed: bool) -> Object:
    """The buyer answers the bank's 3-D Secure page. Returns the payment intent. Raises NotOpen."""
    with sandbox.store.transaction():
        session = _open(sandbox, session_id)
        intent = sandbox.get(session["_intent"], "payment_intent")
        if intent["status"] != "requires_action":
            raise NotOpen
        method = sandbox.get(intent["payment_method"], "payment_method")
        if confirmed:
            billing = method["billing_details"]
            return _pay(sandbox, session, intent, method, billing["email"], billing["name"])
        return payments.fail(
            sandbox,
            intent,
            method,
            code="payment_intent_authentication_failure",
            decline_code="",
            message=payments.AUTHENTICATION_FAILED,
        )


def pay_by_bank(sandbox: Sandbox, session_id: str, email: str, name: str) -> Object:
    """The buyer promises a bank payment: the session is complete and unpaid. Raises NotOpen."""
    with sandbox.store.transaction():
        session = _open(sandbox, session_id)
        customer = _customer(sandbox, session, email, name)
        method = payment_shapes.payment_method(
            sandbox.now(), "us_bank_account", customer, payment_shapes.billing_details(email, name), None
        )
        method["us_bank_account"] = {
            "account_holder_type": "individual",
            "account_type": "checking",
            "bank_name": "STRIPE TEST BANK",
            "financial_connections_account": None,
            "fingerprint": None,
            "last4": "6789",
            "networks": {"preferred": "ach", "supported": ["ach"]},
            "routing_number": "110000000",
            "status_details": None,
        }
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
            intent = payments.fail(
                sandbox,
                intent,
                method,
                code="payment_method_provider_decline",
                decline_code="",
                message="The customer's bank account could not be debited.",
            )
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
    session = {**session, "status": "expired", "url": None}
    sandbox.store.put(session)
    sandbox.emit("checkout.session.expired", session)
    return session


def _customer(sandbox: Sandbox, session: Object, email: str, name: str) -> str | None:
    """The session's customer; a subscription needs one, so it is made if there is none."""
    if session["customer"] or session["mode"] == "payment":
        customer: str | None = session["customer"]
        return customer
    made = shapes.customer(new_id("cus"), sandbox.now(), {"email": email, "name": name})
    sandbox.store.put(made)
    sandbox.emit("customer.created", made)
    id: str = made["id"]
    return id


def _intent(sandbox: Sandbox, session: Object, customer: str | None) -> tuple[Object, Object]:
    """The session's payment intent, made at the first attempt to pay."""
    if session.get("_intent"):
        return session, sandbox.get(session["_intent"], "payment_intent")
    intent = payments.new_intent(
        sandbox, session["amount_total"], session["currency"], customer, session["_payment_metadata"]
    )
    session = {**session, "_intent": intent["id"], "_customer": customer}
    sandbox.store.put(session)
    return session, intent


def _pay(sandbox: Sandbox, session: Object, intent: Object, method: Object, email: str, name: str) -> Object:
    if session["mode"] == "payment":
        intent = payments.succeed(sandbox, intent, method)
    else:
        customer = sandbox.get(session["customer"] or session["_customer"], "customer")
        subscription, invoice = subscriptions.begin(sandbox, session, customer, intent, method)
        session = {
            **session,
            "customer": customer["id"],
            "subscription": subscription["id"],
            "invoice": invoice["id"],
        }
        intent = sandbox.get(intent["id"], "payment_intent")
    _complete(sandbox, session, email, name, paid=True)
    return intent


def _complete(sandbox: Sandbox, session: Object, email: str, name: str, *, paid: bool) -> None:
    payment = session["mode"] == "payment"
    session = {
        **session,
        "status": "complete",
        "payment_status": "paid" if paid else "unpaid",
        "payment_intent": session["_intent"] if payment else None,
        "customer_details": shapes.customer_details(email, name),
        "url": None,
    }
    sandbox.store.put(session)
    sandbox.emit("checkout.session.completed", session)


def _lines(sandbox: Sandbox, id: str, given: Object) -> Object:
    session = sandbox.get(id, "checkout.session")
    return lists.page(session["_line_items"], given, f"/v1{_SESSIONS}/{id}/line_items")


_SESSIONS = "/checkout/sessions"
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
