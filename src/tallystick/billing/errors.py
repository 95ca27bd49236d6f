"""What can go wrong between us and Stripe, each with a stable code. Part of the hierarchy in the domain."""

from typing import ClassVar

from tallystick.billing.setup_steps import Done
from tallystick.domain.errors import Refusal, TallystickError, Unavailable


class PlanRequired(Refusal):
    """The account's plan may not buy packs (S19)."""

    code = "plan_required"

    def __init__(self, plan: str, plans_that_can: list[str]) -> None:
        ways = " or ".join(name.upper() for name in plans_that_can) or "another plan"
        super().__init__(
            f"Extra credits can be bought on {ways}; this account is on {plan.upper()}. Nothing was charged. "
            f"To go on, move to {ways} first.",
            plan=plan,
            plans=plans_that_can,
            upgrade="/api/stripe/create-plan-checkout",
        )


class UnknownPack(Refusal):
    """The catalogue has no pack of that id."""

    code = "unknown_pack"

    def __init__(self, pack_id: str, known: list[str]) -> None:
        super().__init__(
            f"There is no pack {pack_id!r}. Nothing was charged. There is: {', '.join(known) or 'no pack at all'}.",
            pack_id=pack_id,
            known=known,
        )


class PlanNotForSale(Refusal):
    """A plan that has no Stripe price, so that nobody can subscribe to it."""

    code = "plan_not_for_sale"

    def __init__(self, plan: str, interval: str | None) -> None:
        each = f" by the {interval}" if interval else ""
        super().__init__(
            f"Plan {plan!r} is not sold by subscription{each}. Nothing was charged.", plan=plan, interval=interval
        )


class AlreadyOnPlan(Refusal):
    """The account has a subscription to that plan already."""

    code = "already_on_plan"

    def __init__(self, plan: str) -> None:
        super().__init__(f"This account is on {plan.upper()} already. Nothing was charged.", plan=plan)


class NoCustomer(Refusal):
    """The account has never paid for anything, so Stripe knows no customer to show a portal to."""

    code = "no_customer"

    def __init__(self) -> None:
        super().__init__(
            "There is nothing to manage yet: this account has no subscription and has bought nothing. "
            "Nothing was changed. Start with a plan or a pack.",
            upgrade="/api/stripe/create-plan-checkout",
        )


class UnknownPurchase(Refusal):
    """No such purchase, or for a customer one of another account: which of the two is nobody's business.

    An operator, who may see all of them, is told with the `purchase_id` that was asked for.
    """

    code = "unknown_purchase"

    def __init__(self, purchase_id: str | None = None) -> None:
        if purchase_id is None:
            super().__init__(
                "There is no such purchase on this account. Nothing was changed. "
                "If you have paid, the credits arrive by themselves; your history shows them."
            )
        else:
            super().__init__(
                f"There is no purchase {purchase_id!r:.80} here. Nothing was changed. `tallystick purchases list` shows "
                "those that are; at Stripe the id stands in the metadata of the payment, as purchase_id."
            )


class NothingToRefund(Refusal):
    """A purchase that was not paid, or of which everything has gone back already.

    `because` says where it is when a bank took it, or has not sent it.
    """

    code = "nothing_to_refund"

    def __init__(self, purchase_id: str, because: str | None = None) -> None:
        why = "it was not paid, or all of it has gone back already." if because is None else "its money is not here."
        super().__init__(
            f"Nothing of purchase {purchase_id} can be refunded: {why} Nothing was changed."
            + ("" if because is None else f" {because}"),
            purchase_id=purchase_id,
        )


class RefundTooLarge(Refusal):
    """More than is left of what was paid (S23)."""

    code = "refund_too_large"

    def __init__(self, wanted: str, left: str) -> None:
        super().__init__(
            f"{wanted} cannot be refunded: {left} are left of what was paid. Nothing was changed.",
            wanted=wanted,
            refundable=left,
        )


class RefundConflict(Refusal):
    """An idempotency key that was used before for another request of a refund (S7)."""

    code = "idempotency_conflict"

    def __init__(self, key: str) -> None:
        super().__init__(
            f"Idempotency key {key!r} was already used for another refund of this purchase. Nothing was changed. "
            "Use a new key for a new refund.",
            key=key,
        )


class RefundRejected(Refusal):
    """Stripe does not make this refund. Nothing was changed, here or there."""

    code = "refund_rejected"


class UnknownSubscription(Refusal):
    """No such subscription among those that we keep."""

    code = "unknown_subscription"

    def __init__(self, subscription_id: str) -> None:
        super().__init__(
            f"There is no subscription {subscription_id!r:.80} here. Nothing was changed. "
            "`tallystick reconcile` names those that are here and not at Stripe.",
            subscription_id=subscription_id,
        )


class SubscriptionNotLost(Refusal):
    """A subscription that is to be ended here, and that Stripe has."""

    code = "subscription_not_lost"

    def __init__(self, subscription_id: str, status: str) -> None:
        super().__init__(
            f"Stripe has subscription {subscription_id}: it is {status} there. Nothing was changed. "
            "Cancel it in Stripe's dashboard; its account follows.",
            subscription_id=subscription_id,
            stripe_status=status,
        )


class StripeUnavailable(Unavailable):
    """Stripe could not be reached, or was too slow, or asked us to wait."""

    code = "stripe_unavailable"
    retry_after: ClassVar[int] = 5

    def __init__(self) -> None:
        super().__init__(
            "The payment service did not answer in time. Nothing was changed. Please try again in a few seconds."
        )


class StripeRejected(TallystickError):
    """Stripe refused a request of ours: a wrong key, a price that is not there. For an operator to mend."""

    code = "stripe_rejected"

    @property
    def is_missing(self) -> bool:
        """True when Stripe does not have what the request is about. API v1 and v2 say so in their own words."""
        return self.details.get("stripe_code") in ("resource_missing", "not_found")


class ReconciliationUnderWay(TallystickError):
    """Another process goes on with the same reconciliation."""

    code = "reconciliation_under_way"

    def __init__(self) -> None:
        super().__init__(
            "Another process is going on with this reconciliation, so this one stopped. What was repaired stays "
            "repaired, and nothing is counted twice. Wait for the other one, or start one of your own with --since."
        )


class SetupStopped(TallystickError):
    """Setting up an account at Stripe did not come to its end; `done` is what was done until then."""

    code = "setup_stopped"

    def __init__(self, what: str, reason: str, done: Done) -> None:
        taken = f"{len(done.steps)} step(s) before it were taken" if done.steps else "Nothing was changed before"
        super().__init__(
            f"{what}. {reason.rstrip('.')}. {taken}. When that is mended, run the same command again: it goes on "
            "from there, and makes nothing twice.",
            steps=[str(step) for step in done.steps],
        )
        self.done = done


class PriceMismatch(TallystickError):
    """Stripe's price is not the one in the catalogue."""

    code = "price_mismatch"

    def __init__(self, stripe_price: str, expected: str, found: str) -> None:
        super().__init__(
            f"Stripe price {stripe_price} comes to {found}, and the catalogue says {expected}. Nothing was charged. "
            "Correct the catalogue or the price id.",
            stripe_price=stripe_price,
            expected=expected,
            found=found,
        )


class NeedsOperator(TallystickError):
    """An event that no retry will help; it is parked for an operator."""

    code = "needs_operator"


class UnknownEvent(Refusal):
    """No such event in the inbox."""

    code = "unknown_event"

    def __init__(self, event_ids: list[str]) -> None:
        super().__init__(
            f"There is no such event here: {', '.join(event_ids)}. Nothing was changed. Events are kept for a while "
            "after they were worked; what Stripe sent and is not here is found by: tallystick reconcile",
            events=event_ids,
        )


class WebhookRefused(TallystickError):
    """A webhook that was not taken. Nothing was stored, nothing was changed (S26)."""

    code = "webhook_refused"


class WebhookNotConfigured(WebhookRefused):
    """There is no signing secret, so nothing can be verified (S26)."""

    code = "webhook_not_configured"


class SignatureMissing(WebhookRefused):
    """No Stripe-Signature header."""

    code = "signature_missing"


class SignatureInvalid(WebhookRefused):
    """Signed with none of our secrets, or changed on the way."""

    code = "signature_invalid"


class SignatureStale(WebhookRefused):
    """Signed too long ago: it may be a replay."""

    code = "signature_stale"


class NotAnEvent(WebhookRefused):
    """A signed body that is not an event of Stripe."""

    code = "not_an_event"
