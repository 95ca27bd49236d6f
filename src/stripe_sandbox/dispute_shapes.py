"""Disputes, complete: every key that Stripe sends."""

from stripe_sandbox.ids import new_id
from stripe_sandbox.store import Object

DAY = 86_400

_EVIDENCE = (
    "access_activity_log billing_address cancellation_policy cancellation_policy_disclosure cancellation_rebuttal "
    "customer_communication customer_email_address customer_name customer_purchase_ip customer_signature "
    "duplicate_charge_documentation duplicate_charge_explanation duplicate_charge_id product_description receipt "
    "refund_policy refund_policy_disclosure refund_refusal_explanation service_date service_documentation "
    "shipping_address shipping_carrier shipping_date shipping_documentation shipping_tracking_number "
    "uncategorized_file uncategorized_text"
).split()

_VISA_CODES = {
    "credit_not_processed": "13.6",
    "duplicate": "12.6.1",
    "fraudulent": "10.4",
    "product_not_received": "13.1",
    "product_unacceptable": "13.3",
    "subscription_canceled": "13.2",
}
"""What Visa calls some reasons."""


def dispute(created: int, charge: Object, reason: str, case: str, status: str, amount: int) -> Object:
    """A dispute over `amount` of a charge; `case` is what the card network calls it."""
    made: Object = {
        "id": new_id("du"),
        "object": "dispute",
        "amount": amount,
        "balance_transactions": [],
        "charge": charge["id"],
        "created": created,
        "currency": charge["currency"],
        "enhanced_eligibility_types": [],
        "evidence": {**dict.fromkeys(_EVIDENCE), "enhanced_evidence": {}},
        "evidence_details": {
            "due_by": due_by(created),
            "enhanced_eligibility": {},
            "has_evidence": False,
            "past_due": False,
            "submission_count": 0,
        },
        "is_charge_refundable": case == "inquiry",
        "livemode": False,
        "metadata": {},
        "payment_intent": charge["payment_intent"],
        "reason": reason,
        "status": status,
    }
    details = charge["payment_method_details"]
    if details["type"] == "card":
        brand = details["card"]["brand"]
        made["payment_method_details"] = {
            "card": {
                "brand": brand,
                "case_type": case,
                "network": brand,
                "network_reason_code": _VISA_CODES.get(reason) if brand == "visa" else None,
            },
            "type": "card",
        }
    return made


def due_by(created: int) -> int:
    """Until when evidence is taken: the last second of a day, more than a week later."""
    return (created // DAY + 9) * DAY - 1
