"""What time brings: everything that is due happens in its order, each thing at its own instant.

Objects say with `_due` when they wake, and what they do then is in `_WAKES`; what was booked by name with `later` is
in `_LATER`. Each test clock has an agenda of its own.
"""

from collections.abc import Callable

from stripe_sandbox import (
    balance,
    checkout_sessions,
    clocks,
    disputes,
    fraud_warnings,
    later,
    payment_intents,
    payments,
    refunds,
)
from stripe_sandbox.billing import collection, lifecycle, schedules
from stripe_sandbox.sandbox import Sandbox
from stripe_sandbox.store import WAKE, Object

_WAKES: dict[str, Callable[[Sandbox, Object], None]] = {
    "checkout.session": checkout_sessions.wake,
    "invoice": collection.wake,
    "subscription": lifecycle.wake,
    "subscription_schedule": schedules.wake,
}
_LATER: later.Handlers = {
    **balance.LATER,
    **disputes.LATER,
    **fraud_warnings.LATER,
    **payment_intents.LATER,
    **payments.LATER,
    **refunds.LATER,
}


def run_due(sandbox: Sandbox) -> None:
    """Let happen everything that is due by now, and bring every test clock that is under way to where it goes."""
    _run(sandbox, "", sandbox.now())
    for clock, until in clocks.all_clocks(sandbox):
        _run(sandbox, clock, until)
        clocks.arrive(sandbox, clock)


def _run(sandbox: Sandbox, clock: str, until: int) -> None:
    while True:
        with sandbox.store.transaction():
            found = sandbox.store.take_due(clock, until)
            if found is None:
                return
            due, what, id = found
            with sandbox.at(due, clock):
                if what != WAKE:
                    _LATER[what](sandbox, id)
                else:
                    body = sandbox.store.get(id)
                    if body is not None:
                        _WAKES[body["object"]](sandbox, body)
