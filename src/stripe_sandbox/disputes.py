"""Disputes: opened by a bank, answered with evidence, won or lost, and the money that moves with them."""

from stripe import params

from stripe_sandbox import balance, charges, dispute_shapes, fraud_warnings, later, operations, refunds
from stripe_sandbox.card_table import card_of
from stripe_sandbox.choices import Choice
from stripe_sandbox.errors import StripeError
from stripe_sandbox.sandbox import Sandbox
from stripe_sandbox.store import Object

_OPEN = ("needs_response", "under_review")
_INQUIRY = ("warning_needs_response", "warning_under_review")
_UNANSWERED = ("needs_response", "warning_needs_response")
_INQUIRY_SECONDS = 120 * dispute_shapes.DAY
"""After that time an inquiry that was not escalated is over."""

_OUTCOMES = {
    "winning_evidence": "dispute.win",
    "losing_evidence": "dispute.lose",
    "escalate_inquiry_evidence": "dispute.escalate",
}
"""What the magic words in `uncategorized_text` lead to. With any other evidence the dispute stays under review."""


class Kind(Choice):
    """How far a dispute goes at once."""

    CHARGEBACK = "chargeback"
    INQUIRY = "inquiry"
    """The bank asks; no money moves unless it is escalated."""
    PREVENTED = "prevented"
    """Resolved before it became a chargeback: the amount is taken, without a fee, and that is that."""


def open(
    sandbox: Sandbox,
    payment: str,
    *,
    kind: Kind = Kind.CHARGEBACK,
    reason: str | None = None,
    amount: int | None = None,
) -> Object:
    """Have the bank dispute a payment, given by the id of its charge, payment intent or checkout session.

    `amount` in cents, the whole charge if none is given, also when a part was refunded. `reason` is `fraudulent` if
    none is given, `general` for an inquiry. Raises StripeError for a payment that took no money.
    """
    with sandbox.store.transaction():
        charge = charges.of_payment(sandbox, payment)
        charges.require_captured(charge)
        taken: int = charge["amount_captured"]
        amount = taken if amount is None else amount
        if not 1 <= amount <= taken:
            raise StripeError(f"A dispute is over 1 to {taken}, which was charged.", param="amount")
        case, status = {
            Kind.CHARGEBACK: ("chargeback", "needs_response"),
            Kind.INQUIRY: ("inquiry", "warning_needs_response"),
            Kind.PREVENTED: ("resolution", "prevented"),
        }[kind]
        reason = reason or ("general" if kind is Kind.INQUIRY else "fraudulent")
        dispute = dispute_shapes.dispute(sandbox.now(), charge, reason, case, status, amount)
        if kind is not Kind.INQUIRY:
            _withdraw(sandbox, dispute, fee=0 if kind is Kind.PREVENTED else balance.DISPUTE_FEE)
        charge["disputed"] = True
        sandbox.store.put(dispute)
        sandbox.store.put(charge)
        sandbox.emit("charge.dispute.created", dispute)
        if kind is not Kind.INQUIRY:
            sandbox.emit("charge.dispute.funds_withdrawn", dispute)
            refunds.fail_pending(sandbox, charge)
        fraud_warnings.settle(sandbox, charge)
        if kind is not Kind.PREVENTED:
            due = dispute["evidence_details"]["due_by"] + 1 - sandbox.now()
            later.schedule(sandbox, "dispute.due", dispute["id"], due)
        if kind is Kind.INQUIRY:
            later.schedule(sandbox, "dispute.lapse", dispute["id"], _INQUIRY_SECONDS)
        return dispute


def win(sandbox: Sandbox, id: str) -> Object:
    """Let the bank side with the seller: the money comes back with the fee. Raises StripeError when it is closed."""
    with sandbox.store.transaction():
        dispute = _in_state(sandbox, id, *_OPEN, *_INQUIRY)
        if dispute["status"] in _INQUIRY:
            return _close(sandbox, dispute, "warning_closed")
        transaction = balance.record(
            sandbox,
            dispute,
            dispute["amount"],
            type="adjustment",
            category="dispute_reversal",
            description=f"Chargeback reversal for {dispute['charge']}",
            fee=-balance.DISPUTE_FEE,
            fee_description="Dispute fee refund",
        )
        dispute["balance_transactions"] = [*dispute["balance_transactions"], transaction]
        dispute = _close(sandbox, dispute, "won")
        sandbox.emit("charge.dispute.funds_reinstated", dispute)
        return dispute


def lose(sandbox: Sandbox, id: str) -> Object:
    """Let the bank side with its customer. Raises StripeError when it is closed."""
    with sandbox.store.transaction():
        dispute = _in_state(sandbox, id, *_OPEN, *_INQUIRY)
        return _close(sandbox, dispute, "warning_closed" if dispute["status"] in _INQUIRY else "lost")


def escalate(sandbox: Sandbox, id: str) -> Object:
    """Let an inquiry become a chargeback. Raises StripeError when it is no inquiry, or closed."""
    with sandbox.store.transaction():
        dispute = _in_state(sandbox, id, *_INQUIRY)
        escalated = {**dispute, "balance_transactions": []}
        _withdraw(sandbox, escalated, fee=balance.DISPUTE_FEE)
        changes: Object = {
            "balance_transactions": escalated["balance_transactions"],
            "evidence_details": {**dispute["evidence_details"], "due_by": dispute_shapes.due_by(sandbox.now())},
            "is_charge_refundable": False,
            "status": "needs_response",
        }
        if "payment_method_details" in dispute:
            card = {**dispute["payment_method_details"]["card"], "case_type": "chargeback"}
            changes["payment_method_details"] = {**dispute["payment_method_details"], "card": card}
        dispute = sandbox.changed("charge.dispute.updated", dispute, **changes)
        sandbox.emit("charge.dispute.funds_withdrawn", dispute)
        refunds.fail_pending(sandbox, sandbox.get(dispute["charge"], "charge"))
        due = dispute["evidence_details"]["due_by"] + 1 - sandbox.now()
        later.schedule(sandbox, "dispute.due", id, due)
        return dispute


def update(sandbox: Sandbox, id: str, given: Object) -> Object:
    """Stage evidence, or submit it to the bank, once. Raises StripeError when it was submitted or is closed."""
    dispute = sandbox.get(id, "dispute")
    changes = operations.changes(dispute, {"metadata": given.get("metadata")})
    submits = given.get("submit", "evidence" in given)
    if "evidence" in given or submits:
        if dispute["status"] not in _UNANSWERED:
            raise StripeError(
                f"This dispute has a status of {dispute['status']}, so its evidence can no longer be changed.",
                saved=True,
            )
        changes |= _answer(dispute, given.get("evidence") or {}, submits=submits)
    dispute = sandbox.changed("charge.dispute.updated", dispute, **changes)
    outcome = _OUTCOMES.get(dispute["evidence"]["uncategorized_text"] or "")
    if submits and outcome is not None:
        later.schedule(sandbox, outcome, id)
    return dispute


def close(sandbox: Sandbox, id: str) -> Object:
    """The seller gives in: it is lost. Raises StripeError when it was answered or is closed."""
    dispute = sandbox.get(id, "dispute")
    if dispute["status"] not in _UNANSWERED:
        raise StripeError(f"This dispute has a status of {dispute['status']} and cannot be closed.", saved=True)
    return lose(sandbox, id)


def _answer(dispute: Object, evidence: Object, *, submits: bool) -> Object:
    known = {name: value or None for name, value in evidence.items() if name in dispute["evidence"]}
    known["enhanced_evidence"] = dispute["evidence"]["enhanced_evidence"]
    merged = {**dispute["evidence"], **known}
    details = {**dispute["evidence_details"], "has_evidence": any(merged.values())}
    changes: Object = {"evidence": merged, "evidence_details": details}
    if submits:
        details["submission_count"] += 1
        changes["status"] = "under_review" if dispute["status"] == "needs_response" else "warning_under_review"
    return changes


def _withdraw(sandbox: Sandbox, dispute: Object, *, fee: int) -> None:
    transaction = balance.record(
        sandbox,
        dispute,
        -dispute["amount"],
        type="adjustment",
        category="dispute",
        description=f"Chargeback withdrawal for {dispute['charge']}",
        fee=fee,
        fee_description="Dispute fee",
    )
    dispute["balance_transactions"] = [*dispute["balance_transactions"], transaction]


def _close(sandbox: Sandbox, dispute: Object, status: str) -> Object:
    return sandbox.changed("charge.dispute.closed", dispute, status=status)


def _in_state(sandbox: Sandbox, id: str, *statuses: str) -> Object:
    dispute = sandbox.get(id, "dispute")
    if dispute["status"] not in statuses:
        raise StripeError(f"Dispute {id} has a status of {dispute['status']}, not {' or '.join(statuses)}.")
    return dispute


def _open_by_card(sandbox: Sandbox, charge_id: str) -> None:
    """What the test cards for disputes lead to; several disputes share the amount."""
    charge = sandbox.get(charge_id, "charge")
    kinds = card_of(sandbox.get(charge["payment_method"], "payment_method")).disputes
    for kind in kinds:
        if kind == "inquiry":
            open(sandbox, charge_id, kind=Kind.INQUIRY)
        else:
            open(sandbox, charge_id, reason=kind, amount=charge["amount_captured"] // len(kinds))


def _past_due(sandbox: Sandbox, id: str) -> None:
    """Who does not answer in time has lost; an inquiry just stays as it is."""
    dispute = sandbox.get(id, "dispute")
    if dispute["status"] not in _UNANSWERED or dispute["evidence_details"]["due_by"] >= sandbox.now():
        return
    dispute["evidence_details"]["past_due"] = True
    sandbox.store.put(dispute)
    if dispute["status"] == "needs_response":
        _close(sandbox, dispute, "lost")


def _lapse(sandbox: Sandbox, id: str) -> None:
    dispute = sandbox.get(id, "dispute")
    if dispute["status"] in _INQUIRY:
        _close(sandbox, dispute, "warning_closed")


def _win_by_evidence(sandbox: Sandbox, id: str) -> None:
    if sandbox.get(id, "dispute")["status"] in (*_OPEN, *_INQUIRY):
        win(sandbox, id)


def _lose_by_evidence(sandbox: Sandbox, id: str) -> None:
    if sandbox.get(id, "dispute")["status"] in (*_OPEN, *_INQUIRY):
        lose(sandbox, id)


def _escalate_by_evidence(sandbox: Sandbox, id: str) -> None:
    if sandbox.get(id, "dispute")["status"] in _INQUIRY:
        escalate(sandbox, id)


LATER: later.Handlers = {
    "dispute.open": _open_by_card,
    "dispute.win": _win_by_evidence,
    "dispute.lose": _lose_by_evidence,
    "dispute.escalate": _escalate_by_evidence,
    "dispute.due": _past_due,
    "dispute.lapse": _lapse,
}

_PATH = "/disputes"
OPERATIONS = [
    operations.list_of("dispute", _PATH, params.DisputeListParams),
    operations.retrieve("dispute", _PATH, params.DisputeRetrieveParams),
    operations.Operation("POST", f"{_PATH}/{{id}}", params.DisputeUpdateParams, update),
    operations.Operation("POST", f"{_PATH}/{{id}}/close", params.DisputeCloseParams, lambda s, id, _: close(s, id)),
]
