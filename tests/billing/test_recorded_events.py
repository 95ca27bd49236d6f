"""S26 to S28 on events as they were really sent: every recorded one is acted on, kept, or refused for a reason.

The recordings are not part of this repository. Events written here by hand, one of each kind, are always among them.
"""

import json
from collections import Counter
from pathlib import Path
from typing import Any

from stripe_sandbox import shapes
from tallystick.billing import HANDLED_EVENTS, EventStatus
from tallystick.billing.errors import WebhookRefused
from tests.billing.conftest import Shop

RECORDED = Path(__file__).parents[3] / "shared" / "stripe" / "recorded" / "events"
ACTED_ON, KEPT = "acted on", "kept"
REFUSED = {
    # A live mode event, and this service runs in test mode.
    "checkout.session.completed__2020-03-02__sync-engine": "wrong_mode",
    "written by hand: live mode": "wrong_mode",
    "written by hand: an object without an event around it": "not_an_event",
}
"""By name, why. Recordings named data-… hold what an event is about, without the event: not_an_event."""


def event(type: str, *, livemode: bool = False) -> dict[str, Any]:
    about = shapes.customer("cus_1", 1, {})
    return {**shapes.event("evt_hand", 1, type, about, {}, "2026-08-26.dahlia"), "livemode": livemode}


def everything() -> dict[str, Any]:
    written = {f"written by hand: {type}": event(type) for type in (*HANDLED_EVENTS, "customer.created")}
    written["written by hand: live mode"] = event("customer.created", livemode=True)
    written["written by hand: an object without an event around it"] = shapes.customer("cus_1", 1, {})
    return {**written, **{file.stem: json.loads(file.read_text()) for file in sorted(RECORDED.glob("*.json"))}}


def expected(name: str, body: dict[str, Any]) -> str:
    """By rule: what is no event of our mode is refused, what somebody handles is acted on, the rest is kept."""
    if name in REFUSED or name.startswith("data-"):
        return f"refused: {REFUSED.get(name, 'not_an_event')}"
    return ACTED_ON if body["type"] in HANDLED_EVENTS else KEPT


async def test_s28_every_recorded_event_is_acted_on_kept_or_refused_for_a_stated_reason(shop: Shop) -> None:
    found, ids = {}, {}
    for n, (name, body) in enumerate(everything().items()):
        if body.get("object") == "event":
            # Some recordings share an id, and would count as one event that came again.
            body = {**body, "id": f"{body['id']}_{n}"}
            ids[body["id"]] = name
        try:
            await shop.receive(body)
        except WebhookRefused as error:
            found[name] = f"refused: {error.code}"
    for _ in range(len(ids)):
        # Each once: what is postponed comes again a second later, and that is not asked here.
        await shop.billing.work_inbox()
        if not await waiting(shop):
            break
    for stored in await shop.billing.latest_events(1000):
        if stored.status is EventStatus.REFUSED:
            found[ids[stored.id]] = f"refused: {str(stored.last_error).partition(':')[0]}"
        else:
            found[ids[stored.id]] = KEPT if stored.status is EventStatus.IGNORED else ACTED_ON
        # What acted on it and could not go on says so in words; what stumbled would leave a bare class name.
        assert stored.last_error is None or " " in stored.last_error, (ids[stored.id], stored.last_error)
    assert found == {name: expected(name, body) for name, body in everything().items()}
    recorded = [what for name, what in found.items() if not name.startswith("written")]
    refused = Counter(what for what in recorded if what.startswith("refused"))
    assert (len(recorded), refused) in (
        (0, {}),
        (73, {"refused: not_an_event": 19, "refused: wrong_mode": 1}),
    )


async def waiting(shop: Shop) -> bool:
    """Whether there is an event that nobody has looked at yet."""
    events = await shop.billing.latest_events(1000, EventStatus.PENDING)
    return any(event.attempts == 0 for event in events)
