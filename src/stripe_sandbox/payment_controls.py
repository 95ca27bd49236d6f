"""Control routes for payments: refund one, have the bank dispute it, and decide how that ends."""

from collections.abc import Callable, Mapping

from stripe_sandbox import charges, checkout, disputes, fraud_warnings, refunds
from stripe_sandbox.errors import StripeError
from stripe_sandbox.money import shown
from stripe_sandbox.sandbox import Sandbox
from stripe_sandbox.store import Object

_BANK_ENDS: Mapping[str, Callable[[Sandbox, str], Object]] = {
    "succeed": lambda sandbox, id: checkout.settle_bank_payment(sandbox, id, succeeds=True),
    "fail": lambda sandbox, id: checkout.settle_bank_payment(sandbox, id, succeeds=False),
}
_REFUND_ENDS: Mapping[str, Callable[[Sandbox, str], Object]] = {
    "succeed": refunds.succeed,
    "fail": refunds.fail,
    "cancel": refunds.cancel,
}
_DISPUTE_ENDS = {"win": disputes.win, "lose": disputes.lose, "escalate": disputes.escalate}
_SHOWN = 20


def refund(sandbox: Sandbox, fields: dict[str, str], id: str) -> Object:
    """Refund a payment: `amount` in cents, or all that is left; `reason`."""
    with sandbox.store.transaction():
        given: Object = {"charge": charges.of_payment(sandbox, id)["id"]}
        amount = fields.get("amount", "").strip()
        if amount:
            given["amount"] = int(amount)
        if fields.get("reason"):
            given["reason"] = fields["reason"]
        return refunds.create(sandbox, given)


def settle(sandbox: Sandbox, fields: dict[str, str], id: str) -> Object:
    """Let a bank payment that is under way arrive (`outcome=succeed`), or bounce (`outcome=fail`)."""
    return _chosen(_BANK_ENDS, fields)(sandbox, id)


def end_refund(sandbox: Sandbox, fields: dict[str, str], id: str) -> Object:
    """Let a refund `outcome=succeed`, `fail` or `cancel`."""
    return _chosen(_REFUND_ENDS, fields)(sandbox, id)


def dispute(sandbox: Sandbox, fields: dict[str, str], id: str) -> Object:
    """Have the bank dispute a payment: `kind` (chargeback, inquiry, prevented), `reason`, `amount` in cents."""
    amount = fields.get("amount", "").strip()
    return disputes.open(
        sandbox,
        id,
        kind=disputes.Kind(fields.get("kind") or disputes.Kind.CHARGEBACK),
        reason=fields.get("reason") or None,
        amount=int(amount) if amount else None,
    )


def end_dispute(sandbox: Sandbox, fields: dict[str, str], id: str) -> Object:
    """Let a dispute `outcome=win` or `lose`, or an inquiry `escalate`."""
    return _chosen(_DISPUTE_ENDS, fields)(sandbox, id)


def warn(sandbox: Sandbox, fields: dict[str, str], id: str) -> Object:
    """Have the bank warn of fraud in a payment: `fraud_type`."""
    return fraud_warnings.issue(sandbox, id, fields.get("fraud_type") or "misc")


def overview(sandbox: Sandbox) -> Object:
    """What the index page shows of payments, refunds and disputes, newest first."""
    store = sandbox.store
    waiting = store.newest_first("payment_intent", lambda intent: bool(intent["status"] == "processing"))
    captured = store.newest_first("charge", lambda c: bool(c["captured"]))
    return {
        "waiting": _shown(waiting),
        "payments": [
            {
                **charge,
                "text": shown(charge["amount_captured"], charge["currency"]),
                "refunded_text": shown(charge["amount_refunded"], charge["currency"]),
            }
            for charge in captured[:_SHOWN]
        ],
        "refunds": _shown(store.newest_first("refund")),
        "disputes": _shown(store.newest_first("dispute")),
        "dispute_kinds": list(disputes.Kind),
    }


def _shown(objects: list[Object]) -> list[Object]:
    return [{**body, "text": shown(body["amount"], body["currency"])} for body in objects[:_SHOWN]]


def _chosen(
    ends: Mapping[str, Callable[[Sandbox, str], Object]], fields: dict[str, str]
) -> Callable[[Sandbox, str], Object]:
    outcome = fields.get("outcome", "")
    if outcome not in ends:
        raise StripeError(f"Give outcome={', '.join(ends)}.", param="outcome")
    return ends[outcome]


CONTROLS = {
    "/sandbox/bank_payments/{id}": settle,
    "/sandbox/payments/{id}/refund": refund,
    "/sandbox/payments/{id}/dispute": dispute,
    "/sandbox/payments/{id}/fraud_warning": warn,
    "/sandbox/refunds/{id}": end_refund,
    "/sandbox/disputes/{id}": end_dispute,
}
