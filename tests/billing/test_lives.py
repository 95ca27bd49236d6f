"""S27: order never matters. Random lives of customers at Stripe, of which two worlds hear. In one every event comes
at once and in its order. In the other the same events come shuffled, up to three times, at two processes at once,
and some of them months later. Both end alike, and as a plain model says.

TALLYSTICK_LIVES multiplies how many there are, and makes them longer.
"""

import asyncio
import os
import random
from types import SimpleNamespace

import pytest
import uvloop
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from tests.billing.lifecycle import T0
from tests.billing.lives import HOW
from tests.billing.worlds import Act, live, two_in_this_process
from tests.conftest import Fresh

CUSTOMERS = 15
TIMES = int(os.environ.get("TALLYSTICK_LIVES", "1"))
EXAMPLES = 10 * TIMES
"""On each of the two databases."""

ROUNDS = 5 if TIMES == 1 else 8
BEGINS = ("plus", "pro", "a year", "a year", "a trial", "a year on trial", "a trial without a card")
CHANGES = (
    "upgrade",
    "upgrade",
    "downgrade",
    "to the year",
    "cancel",
    "cancel at the end",
    "its billing is paused",
    "pause",
)
CARD = ("the card breaks", "the card breaks", "the card is mended", "what is due is paid")
MONEY = ("its money comes back", "its bank disputes")
FOLLOWS = {
    "plus": ("upgrade", "pause", "its billing is paused", "the card breaks", "the card breaks"),
    "a year": ("upgrade", "the card breaks", "pause", "its billing is paused"),
    "a trial without a card": ("the card is mended", "the card is mended", "the card breaks", "cancel", "go on"),
    "a trial": ("the card breaks", "cancel", "cancel at the end"),
    "the card breaks": ("upgrade", "upgrade", "what is due is paid", "the card is mended"),
    "upgrade": ("what is due is paid", "downgrade"),
    "cancel at the end": ("go on",),
    "its billing is paused": ("its billing goes on", "upgrade"),
    "pause": ("resume", "resume", "resume", "cancel"),
    "resume": ("upgrade", "pause", "cancel"),
}
"""What often comes next: by chance it would seldom find what it is about."""

SELDOM = (
    (("plus",), ("pause",), ("resume",), ("upgrade", "at once"), ("cancel",)),
    (("plus",), ("pause",), ("resume",), ("pause",), ("resume",)),
    (("plus",), ("the card breaks",), ("upgrade", "at once"), ("what is due is paid",)),
    (("plus",), ("the card breaks",), ("upgrade", "when it is paid"), ("what is due is paid",)),
    (("a year",), ("the card breaks",), ("upgrade", "at once"), ("what is due is paid",), ("cancel",)),
    (("plus",), ("the card breaks",), ("pro",), ("what is due is paid",), ("its bank disputes", 1, True)),
    (("a trial",), ("the card breaks",), ("cancel",), ("the card is mended",), ("plus",)),
    (("a trial",), ("the card breaks",), ("pause",), ("what is due is paid",), ("upgrade", "at once")),
    (("a year on trial",), ("cancel at the end",), ("go on",), ("upgrade", "if it is paid"), ("cancel",)),
    (("plus",), ("its billing is paused", "keep_as_draft", 40), ("pro",), ("upgrade", "at once")),
    (("a year",), ("pause",), ("resume",), ("upgrade", "at once"), ("cancel",)),
    (("a year",), ("pause",), ("resume",), ("pause",), ("resume",)),
    (("a year",), ("the card breaks",), ("upgrade", "at once"), ("cancel",)),
    (("a year",), ("the card breaks",), ("upgrade", "at once"), ("go on",), ("what is due is paid",)),
    (("a year",), ("its billing is paused", "void", 0), ("upgrade", "at once"), ("pause",), ("cancel",)),
    (("plus",), ("its billing is paused", "mark_uncollectible", 0), ("upgrade", "at once"), ("its billing goes on",)),
    (("a trial without a card", "pause", 12), ("go on",), ("the card is mended",), ("resume",), ("pause",)),
    (("a trial without a card", "cancel", 1), ("go on",), ("the card is mended",), ("a year",), ("pause",)),
    (("a year",), ("its billing is paused", "void", 0), ("its billing goes on",), ("upgrade", "at once")),
)
"""What subscriptions go through that chance makes too seldom; what is out of place when its turn comes is left out."""

PAYMENTS = ("bank", "come back", "spend", "refund", "refund fails", "dispute", "dispute ends", "give up")


def any_life(chance: random.Random) -> list[Act]:
    """What a customer does, one thing in each round. What is out of place there does not happen."""
    buys, subscribes = chance.choice(((1, 5), (1, 3), (2, 1)))
    kinds = chance.choices(("buy", "subscribe"), (buys, subscribes), k=chance.randint(2, ROUNDS))
    acts: list[Act] = []
    last = ""
    for n, kind in enumerate(kinds):
        is_first = kind not in kinds[:n]
        if kind == "subscribe":
            of = chance.choices((BEGINS, CHANGES, CARD, MONEY), (8, 0, 1, 0) if is_first else (2, 5, 3, 1))[0]
            if last in FOLLOWS and chance.random() < 0.7:
                of = FOLLOWS[last]
            last = chance.choice(of)
            acts.append(("subscription", last, *_details(last, chance)))
        else:
            what = chance.choice(("buy", "buy by bank") if is_first or not n % 4 else PAYMENTS)
            acts.append(_payment(what, chance))
    return acts


def _details(what: str, chance: random.Random) -> Act:
    match what:
        case "upgrade":
            return (chance.choice(tuple(HOW)),)
        case "resume":
            return (chance.choice(("now", "now", "unchanged")),)
        case "a trial without a card":
            return chance.choice(("cancel", "pause")), chance.choice((1, 12))
        case "its billing is paused":
            return chance.choice(("void", "mark_uncollectible", "keep_as_draft")), chance.choice((0, 2, 20, 40))
        case "its money comes back" | "its bank disputes":
            return chance.randint(1, 1900), chance.random() < 0.5
    return ()


def _payment(what: str, chance: random.Random) -> Act:
    match what:
        case "spend":
            return what, chance.randint(1, 120)
        case "refund":
            return what, chance.randint(1, 599)
        case "dispute":
            return what, chance.choice(("chargeback", "inquiry"))
        case "buy" | "buy by bank" | "bank" | "dispute ends":
            return what, chance.random() < 0.5
    return (what,)


def some_lives(chance: random.Random) -> list[list[Act]]:
    """What each of some customers does; three of them what chance makes too seldom."""
    told = [[("subscription", *act) for act in life] for life in chance.sample(SELDOM, 3)]
    return told + [any_life(chance) for _ in range(CUSTOMERS - len(told))]


async def live_in_this_process(fresh: Fresh, chance: random.Random) -> None:
    told = some_lives(chance)
    async with fresh() as at_once, fresh() as late:
        await live(told, ROUNDS, (at_once, late), two_in_this_process, chance)


def test_s27_any_order_of_the_events_of_any_lives_ends_where_they_would_have_in_order(
    fresh_database: Fresh, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Its own time stands still between the rounds, so that every instant is exact.
    monkeypatch.setattr("stripe_sandbox.sandbox.time", SimpleNamespace(time=T0.timestamp))

    # Other lives on each of the databases.
    @seed(2 * int(os.environ.get("TALLYSTICK_LIVES_SEED", "27")) + (request.node.callspec.id == "postgresql"))
    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
        database=None,
    )
    @given(number=st.integers(0, 2**64 - 1))
    def run(number: int) -> None:
        # The loop on which the service runs.
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(live_in_this_process(fresh_database, random.Random(number)))

    run()
