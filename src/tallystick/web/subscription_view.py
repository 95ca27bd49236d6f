"""A subscription in words for its owner: how it stands, and what to do if something is to be done. Knows no HTTP."""

from dataclasses import dataclass

from tallystick.billing import Subscription
from tallystick.web.views import day


@dataclass(frozen=True, slots=True)
class SubscriptionView:
    """How a subscription stands. `alert` is set when its owner has to do something; the dashboard shows it too."""

    text: str
    alert: str | None = None


def subscription_view(subscription: Subscription | None, plan: str) -> SubscriptionView:
    """What to say of an account's subscription to the plan titled `plan` (S16)."""
    if subscription is None:
        return SubscriptionView("You have no subscription.")
    match subscription.status:
        case "past_due":
            return SubscriptionView(
                "Your subscription is past due.",
                f"The last payment for {plan} did not go through. The credits you have stay usable; new monthly "
                "credits come as soon as it is paid. Check your card under Manage subscription.",
            )
        case "unpaid":
            return SubscriptionView(
                f"Your subscription to {plan} is not paid, so it has stopped.",
                f"The payment for {plan} did not arrive, so {plan} has stopped. Your bonus credits stay yours. "
                "To go on, pay the open invoice under Manage subscription.",
            )
        case "incomplete":
            return SubscriptionView(f"The first payment for {plan} is not confirmed yet.")
        case "paused":
            return SubscriptionView(f"Your subscription to {plan} is paused. Your bonus credits stay yours.")
        case "trialing":
            return SubscriptionView(_trial(subscription, plan))
        case "active":
            return SubscriptionView(_active(subscription, plan))
    return SubscriptionView(f"Your subscription to {plan} has ended. Your bonus credits stay yours.")


def _trial(subscription: Subscription, plan: str) -> str:
    until = "" if subscription.trial_end is None else f" until {day(subscription.trial_end)}"
    if subscription.ends_at is not None:
        return f"You are trying {plan}{until}. It ends then, and nothing is charged."
    return f"You are trying {plan}{until}. The first payment is taken then, unless you cancel before."


def _active(subscription: Subscription, plan: str) -> str:
    if subscription.ends_at is not None:
        return (
            f"Your subscription is cancelled. You are on {plan} until {day(subscription.ends_at)}, and can still "
            "take the cancellation back under Manage subscription."
        )
    if subscription.collection_paused:
        return "Your subscription is active, but its billing is paused: no new monthly credits come until it goes on."
    renews = "" if subscription.period_end is None else f" and renews on {day(subscription.period_end)}"
    return f"Your subscription is active{renews}."
