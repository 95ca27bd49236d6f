"""A subscription in words for its owner: how it stands, and what to do if something is to be done. Knows no HTTP."""

from dataclasses import dataclass

from tallystick.billing import Subscription
from tallystick.domain.catalogue import Catalogue
from tallystick.web.views import day


@dataclass(frozen=True, slots=True)
class SubscriptionView:
    """How a subscription stands. `alert` is set when its owner has to do something; the dashboard shows it too."""

    text: str
    alert: str | None = None


def subscription_view(subscription: Subscription | None, catalogue: Catalogue) -> SubscriptionView:
    """What to say of an account's subscription (S16)."""
    if subscription is None:
        return SubscriptionView("You have no subscription.")
    plan = _title(subscription.plan, catalogue)
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
            return SubscriptionView(_trial(subscription, plan, catalogue))
        case "active":
            return SubscriptionView(_active(subscription, plan, catalogue))
    return SubscriptionView(f"Your subscription to {plan} has ended. Your bonus credits stay yours.")


def _trial(subscription: Subscription, plan: str, catalogue: Catalogue) -> str:
    until = "" if subscription.trial_end is None else f" until {day(subscription.trial_end)}"
    if subscription.ends_at is not None:
        return f"You are trying {plan}{until}. It ends then, and nothing is charged."
    change = _change(subscription, catalogue)
    then = "" if change is None else f" Your subscription {change}."
    return f"You are trying {plan}{until}. The first payment is taken then, unless you cancel before.{then}"


def _active(subscription: Subscription, plan: str, catalogue: Catalogue) -> str:
    change = _change(subscription, catalogue)
    if subscription.ends_at is not None and change is None:
        return (
            f"Your subscription is cancelled. You are on {plan} until {day(subscription.ends_at)}, and can still "
            "take the cancellation back under Manage subscription."
        )
    if subscription.collection_paused:
        return "Your subscription is active, but its billing is paused: no new monthly credits come until it goes on."
    if change is not None:
        ends = "" if subscription.ends_at is None else f" It ends on {day(subscription.ends_at)}."
        return (
            f"Your subscription is active and {change}.{ends} Until then nothing changes, and you can still take "
            "it back under Manage subscription."
        )
    renews = "" if subscription.period_end is None else f" and renews on {day(subscription.period_end)}"
    return f"Your subscription is active{renews}."


def _change(subscription: Subscription, catalogue: Catalogue) -> str | None:
    """What becomes of a subscription before it ends, if that has been decided, as the end of a sentence (S17)."""
    at, ends = subscription.changes_at, subscription.ends_at
    if at is None or subscription.next_plan is None or (ends is not None and ends <= at):
        return None
    if subscription.next_plan != subscription.plan:
        return f"changes to {_title(subscription.next_plan, catalogue)} on {day(at)}"
    sold = catalogue.sold_as(subscription.next_price or "")
    return None if sold is None else f"is paid by the {sold.interval} from {day(at)} on"


def _title(name: str, catalogue: Catalogue) -> str:
    plan = catalogue.plan(name)
    return name.upper() if plan is None else plan.title
