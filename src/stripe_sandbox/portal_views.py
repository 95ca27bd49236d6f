"""What the pages of the customer portal show. Changes nothing."""

from datetime import UTC, datetime

from stripe_sandbox import catalogue
from stripe_sandbox.billing import lifecycle, portal, portal_sessions, schedules, standing
from stripe_sandbox.billing.portal import Change, Visit, When
from stripe_sandbox.errors import StripeError
from stripe_sandbox.money import shown
from stripe_sandbox.sandbox import Sandbox
from stripe_sandbox.store import Object

_SHOWN = 24
_INVOICES = ("open", "paid", "uncollectible", "void")
REASONS = {
    "too_expensive": "It's too expensive",
    "missing_features": "Some features are missing",
    "switched_service": "I found an alternative",
    "unused": "I no longer need it",
    "customer_service": "Customer service was less than expected",
    "too_complex": "Ease of use was less than expected",
    "low_quality": "Quality was less than expected",
    "other": "Other reason",
}
"""Why customers cancel, as they read it."""


def day(at: int) -> str:
    """A day as people read it."""
    moment = datetime.fromtimestamp(at, UTC)
    return f"{moment.day} {moment:%B %Y}"


def home(sandbox: Sandbox, visit: Visit) -> Object:
    """The first page: subscriptions, cards, the customer, invoices."""
    customer = visit.customer
    return {
        "subscriptions": [
            subscription(sandbox, visit, found)
            for found in portal.live_subscriptions(sandbox, customer["id"])
            if found["status"] != "incomplete"
        ],
        "cards": cards(sandbox, visit) if visit.feature("payment_method_update")["enabled"] else None,
        "customer": customer,
        "address": [line for line in (customer["address"] or {}).values() if line],
        "may_update_customer": visit.feature("customer_update")["enabled"],
        "invoices": _invoices(sandbox, customer["id"]) if visit.feature("invoice_history")["enabled"] else None,
    }


def subscription(sandbox: Sandbox, visit: Visit, found: Object) -> Object:
    """How a subscription stands, and what its owner may do with it."""
    ends = found["cancel_at"]
    next_phase = schedules.to_come(sandbox, found)
    return {
        "id": found["id"],
        "status": found["status"],
        "items": [_item(sandbox, item) for item in found["items"]["data"]],
        "ends": None if ends is None else day(ends),
        "renews": _renewal(sandbox, found),
        "trial": day(found["trial_end"]) if found["status"] == "trialing" else None,
        "change": None if next_phase is None else _phase(sandbox, next_phase),
        "owes": _owed(sandbox, found),
        "may_change": portal.is_changeable(visit, found),
        "may_cancel": visit.feature("subscription_cancel")["enabled"] and ends is None,
        "may_renew": visit.feature("subscription_cancel")["enabled"] and ends is not None,
    }


def offers(sandbox: Sandbox, visit: Visit, found: Object) -> list[Object]:
    """The prices that a subscription may be switched to, with the one it has."""
    item = found["items"]["data"][0]
    made = []
    for product in portal_sessions.products(visit.configuration):
        name = sandbox.get(product["product"], "product")["name"]
        for id in product["prices"]:
            price = sandbox.get(id, "price")
            if price["active"] and price["currency"] == item["price"]["currency"]:
                made.append(
                    {
                        "id": id,
                        "name": name,
                        "price": catalogue.price_text(price),
                        "current": id == item["price"]["id"],
                        "quantity": portal.adjustable(visit, price),
                    }
                )
    return made


def confirmation(sandbox: Sandbox, visit: Visit, found: Object, change: Change) -> Object:
    """What a change means: what it costs, and when. Raises StripeError for one that cannot be."""
    price = sandbox.get(change.price, "price")
    moment = portal.when(visit, found, change, price)
    product = sandbox.get(price["product"], "product")
    said: Object = {
        "name": product["name"],
        "price": catalogue.price_text(price),
        "quantity": change.quantity,
        "waits": moment is When.AT_PERIOD_END,
        "on": day(standing.period_end(found)),
        "lines": [],
        "due": None,
        "ends": None if found["cancel_at"] is None else day(found["cancel_at"]),
    }
    if moment is When.NOW:
        invoice = portal.preview(sandbox, visit, found, change)
        is_now = invoice["period_end"] <= sandbox.now() or invoice["next_payment_attempt"] is None
        said["lines"] = [
            {"text": line["description"], "amount": shown(line["amount"], line["currency"])}
            for line in invoice["lines"]["data"]
        ]
        said["due"] = shown(invoice["amount_due"], invoice["currency"])
        said["due_when"] = "today" if is_now else f"on {said['on']}"
    return said


def cards(sandbox: Sandbox, visit: Visit) -> list[Object]:
    """The customer's cards, of which one is used."""
    customer = visit.customer["id"]
    used = portal.default_card(sandbox, customer)
    found = sandbox.store.newest_first("payment_method", lambda m: bool(m["customer"] == customer and m.get("card")))
    return [{"id": method["id"], "text": card_text(method), "used": method["id"] == used} for method in found]


def card_text(method: Object) -> str:
    """A card as people read it."""
    card = method["card"]
    brand = str(card["display_brand"] or card["brand"]).replace("_", " ").title()
    return f"{brand} •••• {card['last4']}, expires {card['exp_month']:02}/{card['exp_year']}"


def reasons(visit: Visit) -> dict[str, str] | None:
    """What a customer who cancels may choose from; None when they are not asked."""
    asked = visit.feature("subscription_cancel")["cancellation_reason"]
    return {name: REASONS[name] for name in asked["options"]} if asked["enabled"] else None


def _item(sandbox: Sandbox, item: Object) -> Object:
    product = sandbox.get(item["price"]["product"], "product")
    return {"name": product["name"], "price": catalogue.price_text(item["price"]), "quantity": item["quantity"]}


def _phase(sandbox: Sandbox, phase: Object) -> Object:
    price = sandbox.get(phase["items"][0]["price"], "price")
    product = sandbox.get(price["product"], "product")
    return {"name": product["name"], "price": catalogue.price_text(price), "on": day(phase["start_date"])}


def _renewal(sandbox: Sandbox, found: Object) -> Object | None:
    """When the next invoice comes and what it will be; None when there will be none."""
    if found["status"] not in ("active", "trialing", "past_due") or found["cancel_at"] is not None:
        return None
    try:
        invoice = lifecycle.upcoming(sandbox, found)
    except StripeError:
        return None
    return {"on": day(standing.period_end(found)), "amount": shown(invoice["amount_due"], invoice["currency"])}


def _owed(sandbox: Sandbox, found: Object) -> str | None:
    """Where an invoice can be paid that was not."""
    invoice = sandbox.store.get(found["latest_invoice"] or "", "invoice")
    return str(invoice["hosted_invoice_url"]) if invoice is not None and invoice["status"] == "open" else None


def _invoices(sandbox: Sandbox, customer: str) -> list[Object]:
    found = sandbox.store.newest_first(
        "invoice", lambda i: bool(i["customer"] == customer and i["status"] in _INVOICES and i["hosted_invoice_url"])
    )
    return [
        {
            "day": day(invoice["created"]),
            "total": shown(invoice["total"], invoice["currency"]),
            "status": invoice["status"],
            "number": invoice["number"],
            "what": _what(invoice),
            "url": invoice["hosted_invoice_url"],
        }
        for invoice in found[:_SHOWN]
    ]


def _what(invoice: Object) -> str:
    lines = invoice["lines"]["data"]
    if not lines:
        return str(invoice["number"])
    text = str(lines[-1]["description"])
    return text if len(lines) == 1 else f"{text} and {len(lines) - 1} more"
