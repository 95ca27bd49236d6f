"""Subscription schedules: what a running subscription will be, phase after phase.

A phase that begins when the subscription renews is renewed into: `subscriptions.cycle` finds what the items become in
the subscription's `_renews_as`. Into any other the subscription is changed at its instant, prorated as the phase says.
"""

from typing import Any

from stripe import params

from stripe_sandbox import operations
from stripe_sandbox.billing import items, lifecycle, schedule_shapes, standing, updates
from stripe_sandbox.calendar import plus_intervals
from stripe_sandbox.errors import StripeError
from stripe_sandbox.sandbox import Sandbox
from stripe_sandbox.store import Object

_TYPE = "subscription_schedule"
_OPEN = ("active", "not_started")


def create(sandbox: Sandbox, given: Object) -> Object:
    """A schedule for a subscription that runs, with its current period as the only phase."""
    if not given.get("from_subscription"):
        raise StripeError(
            "The sandbox makes schedules of subscriptions: give `from_subscription`.",
            code="parameter_missing",
            param="from_subscription",
        )
    if "phases" in given:
        raise StripeError("You cannot set `phases` if `from_subscription` is set.", param="phases")
    subscription = sandbox.get(given["from_subscription"], "subscription", param="from_subscription", status=400)
    return attach(sandbox, subscription)


def attach(sandbox: Sandbox, subscription: Object) -> Object:
    """A schedule that has as its only phase what `subscription` is now. Raises StripeError when it cannot have one."""
    if subscription["schedule"] is not None:
        raise StripeError(
            "You cannot migrate a subscription that is already attached to a schedule: "
            f"`{subscription['schedule']}`.",
            param="from_subscription",
        )
    if subscription["status"] not in standing.LIVE:
        raise StripeError(
            f"You cannot migrate a subscription with a status of `{subscription['status']}`.",
            param="from_subscription",
        )
    data = subscription["items"]["data"]
    first = schedule_shapes.phase(
        min(item["current_period_start"] for item in data),
        standing.period_end(subscription),
        subscription["currency"],
        [(item["price"]["id"], item["quantity"]) for item in data],
        {"trial_end": subscription["trial_end"] if subscription["status"] == "trialing" else None},
    )
    made = schedule_shapes.schedule(sandbox.now(), subscription, first)
    sandbox.store.put(made)
    sandbox.emit(f"{_TYPE}.created", made)
    standing.changed(sandbox, subscription, schedule=made["id"])
    return made


def update(sandbox: Sandbox, schedule: Object, given: Object) -> Object:
    """Change what is to come, and what is now. Raises StripeError when that is over, or cannot be."""
    _must_be_open(schedule, "update")
    if given.get("end_behavior") in ("none", "renew"):
        raise StripeError("Invalid end_behavior: must be one of release or cancel", param="end_behavior")
    changes = operations.changes(schedule, {k: v for k, v in given.items() if k in ("end_behavior", "metadata")})
    subscription = sandbox.get(schedule["subscription"], "subscription")
    if "phases" in given:
        changes["phases"] = _phases(sandbox, schedule, subscription, given["phases"])
        current = _at(changes["phases"], sandbox.now())
        changes |= {"current_phase": schedule_shapes.span(current), "_due": current["end_date"]}
    schedule = sandbox.changed(f"{_TYPE}.updated", schedule, **changes)
    if "phases" in given:
        _enter(sandbox, schedule, given.get("proration_behavior"))
    return schedule


def release(sandbox: Sandbox, schedule: Object) -> Object:
    """Let the subscription go on as it is now, without a schedule. Raises StripeError when that is over."""
    _must_be_open(schedule, "release")
    subscription = sandbox.get(schedule["subscription"], "subscription")
    released = {
        **schedule,
        "current_phase": None,
        "released_at": sandbox.now(),
        "released_subscription": subscription["id"],
        "status": "released",
        "subscription": None,
        "_due": None,
    }
    sandbox.store.put(released)
    sandbox.emit(f"{_TYPE}.released", released)
    standing.changed(sandbox, subscription, schedule=None, _renews_as=None)
    return released


def cancel(sandbox: Sandbox, schedule: Object, given: Object) -> Object:
    """End the schedule and its subscription now. Raises StripeError when that is over."""
    _must_be_open(schedule, "cancel")
    how = {"invoice_now": given.get("invoice_now", True), "prorate": given.get("prorate", True)}
    lifecycle.cancel(sandbox, sandbox.get(schedule["subscription"], "subscription"), how)
    return sandbox.get(schedule["id"], _TYPE)


def wake(sandbox: Sandbox, schedule: Object) -> None:
    """The current phase is over: the next one begins, or the schedule ends as it is to end."""
    now = sandbox.now()
    later = [phase for phase in schedule["phases"] if phase["start_date"] >= now]
    if later:
        changes = {"current_phase": schedule_shapes.span(later[0]), "_due": later[0]["end_date"]}
        _enter(sandbox, sandbox.changed(f"{_TYPE}.updated", schedule, **changes), None)
    elif schedule["end_behavior"] == "release":
        release(sandbox, schedule)
    else:
        done = {**schedule, "completed_at": now, "current_phase": None, "status": "completed", "_due": None}
        sandbox.store.put(done)
        sandbox.emit(f"{_TYPE}.completed", done)
        standing.end(sandbox, sandbox.get(schedule["subscription"], "subscription"), "cancellation_requested")


def to_come(sandbox: Sandbox, subscription: Object) -> Object | None:
    """The next phase of a subscription's schedule, if there is one."""
    schedule = sandbox.store.get(subscription["schedule"] or "", _TYPE)
    if schedule is None or schedule["status"] not in _OPEN:
        return None
    return next((phase for phase in schedule["phases"] if phase["start_date"] > sandbox.now()), None)


def _phases(sandbox: Sandbox, schedule: Object, subscription: Object, given: list[Object]) -> list[Object]:
    """The phases that are asked for, one right after the other, of which the current one stays where it began."""
    made: list[Object] = []
    for n, wanted in enumerate(given):
        at = f"phases[{n}]"
        start = wanted.get("start_date", made[-1]["end_date"] if made else None)
        if start is None:
            raise StripeError(
                "The first phase needs a `start_date`: it anchors the ones after it.",
                code="parameter_missing",
                param=f"{at}[start_date]",
            )
        start = sandbox.now() if start == "now" else start
        prices = [items.price_of(sandbox, entry, f"{at}[items][{i}]") for i, entry in enumerate(wanted["items"])]
        if not prices:
            raise StripeError(f"Missing required param: {at}[items].", code="parameter_missing", param=f"{at}[items]")
        end = _end(wanted, prices[0], start)
        if end <= start or (made and made[-1]["end_date"] != start):
            raise StripeError(
                "Phases follow each other without a gap, and each ends after its start.", param=f"{at}[start_date]"
            )
        sold = [(price["id"], entry.get("quantity", 1)) for price, entry in zip(prices, wanted["items"], strict=True)]
        made.append(schedule_shapes.phase(start, end, subscription["currency"], sold, wanted))
    current = next((phase for phase in made if _holds(phase, sandbox.now())), None)
    if current is None or current["start_date"] != schedule["current_phase"]["start_date"]:
        raise StripeError(
            "The start date of the current phase cannot be changed. Give it as it is: "
            f"{schedule['current_phase']['start_date']}.",
            param="phases[0][start_date]",
        )
    return made


def _end(given: Object, price: Object, start: int) -> int:
    """When a phase ends: as it says, else after its duration, else after one period of its price."""
    if isinstance(given.get("end_date"), int):
        return int(given["end_date"])
    length = given.get("duration") or price["recurring"]
    return plus_intervals(start, length["interval"], length.get("interval_count", 1))


def _at(phases: list[Object], instant: int) -> Object:
    return next(phase for phase in phases if _holds(phase, instant))


def _holds(phase: Object, instant: int) -> bool:
    return bool(phase["start_date"] <= instant < phase["end_date"])


def _enter(sandbox: Sandbox, schedule: Object, proration: str | None) -> None:
    """Bring the subscription to the current phase, and have it renew into the next one."""
    subscription = sandbox.get(schedule["subscription"], "subscription")
    phases = schedule["phases"]
    current = next(p for p in phases if p["start_date"] == schedule["current_phase"]["start_date"])
    if _sold(current) != [(i["price"]["id"], i["quantity"]) for i in subscription["items"]["data"]]:
        change = {
            "items": _changes(subscription, current),
            "proration_behavior": proration or current["proration_behavior"],
        }
        subscription = updates.update(sandbox, subscription, change)
    later = next((p for p in phases if p["start_date"] == current["end_date"]), None)
    renews: Any = None
    same_count = later is not None and len(later["items"]) == len(subscription["items"]["data"])
    if later is not None and same_count and later["start_date"] == standing.period_end(subscription):
        renews = {"at": later["start_date"], "sold": _sold(later)}
    standing.keep(sandbox, {**subscription, "_renews_as": renews})


def _changes(subscription: Object, phase: Object) -> list[Object]:
    """The items of an update that makes a subscription what a phase says: kept in their order, the rest new or gone."""
    data, sold = subscription["items"]["data"], _sold(phase)
    entries: list[Object] = [
        {"id": item["id"], "price": price, "quantity": quantity}
        for item, (price, quantity) in zip(data, sold, strict=False)
    ]
    entries += [{"price": price, "quantity": quantity} for price, quantity in sold[len(data) :]]
    return entries + [{"id": item["id"], "deleted": True} for item in data[len(sold) :]]


def _sold(phase: Object) -> list[tuple[str, int]]:
    return [(item["price"], item["quantity"]) for item in phase["items"]]


def _must_be_open(schedule: Object, what: str) -> None:
    if schedule["status"] not in _OPEN:
        raise StripeError(
            f"You cannot {what} a subscription schedule that is currently in the `{schedule['status']}` status. It "
            "must be in `not_started`, or `active` status.",
        )


_PATH = "/subscription_schedules"
_ONE = f"{_PATH}/{{id}}"
OPERATIONS = [
    operations.create(_PATH, params.SubscriptionScheduleCreateParams, create),
    operations.list_of(_TYPE, _PATH, params.SubscriptionScheduleListParams),
    operations.retrieve(_TYPE, _PATH, params.SubscriptionScheduleRetrieveParams),
    operations.Operation(
        "POST",
        _ONE,
        params.SubscriptionScheduleUpdateParams,
        lambda s, id, given: update(s, s.get(id, _TYPE), given),
    ),
    operations.Operation(
        "POST",
        f"{_ONE}/release",
        params.SubscriptionScheduleReleaseParams,
        lambda s, id, _: release(s, s.get(id, _TYPE)),
    ),
    operations.Operation(
        "POST",
        f"{_ONE}/cancel",
        params.SubscriptionScheduleCancelParams,
        lambda s, id, given: cancel(s, s.get(id, _TYPE), given),
    ),
]
