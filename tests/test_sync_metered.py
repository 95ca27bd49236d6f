"""A metered stream without `await` ends and costs what it does with it (S12), on both databases."""

import threading
from collections.abc import AsyncIterator, Iterator

import pytest

from tallystick import InvalidInput, Plan
from tallystick.holding import HoldClosed, Holding
from tallystick.sync import SyncHolding, SyncTallystick

Outcome = tuple[list[int], bool, int, int, str]
"""The chunks that came through, whether the account was empty, what was drawn, what was held, and the error."""


@pytest.fixture
def credits(database_url: str) -> Iterator[SyncTallystick]:
    with SyncTallystick(database_url, plans=[Plan("free", 25)]) as made:
        made.open_account("a")
        made.open_account("b")
        yield made


def _told(passed: list[int], hold: Holding | SyncHolding, error: str) -> Outcome:
    return passed, hold.exhausted, hold.drawn, hold.amount, error


async def _with_await(credits: SyncTallystick, costs: list[int]) -> Outcome:
    async def chunks() -> AsyncIterator[int]:
        for cost in costs:
            yield cost

    passed, error = [], ""
    async with Holding(credits.ledger, "a", 10) as hold:
        try:
            async for chunk in hold.metered(chunks(), cost=lambda chunk: chunk):
                passed.append(chunk)
        except InvalidInput as invalid:
            error = invalid.code
        return _told(passed, hold, error)


def _without_await(credits: SyncTallystick, costs: list[int]) -> Outcome:
    passed, error = [], ""
    with credits.hold("b", 10) as hold:
        try:
            for chunk in hold.metered(costs, cost=lambda chunk: chunk):
                passed.append(chunk)
        except InvalidInput as invalid:
            error = invalid.code
        return _told(passed, hold, error)


@pytest.mark.parametrize(
    "costs",
    [[], [1, 2, 3], [0, 0], [10, 10, 5], [10, 10, 5, 0, 1, 1], [26], [24, 2, 1], [11, 11, 11], [3, -1, 3]],
    ids=str,
)
def test_s12_a_metered_stream_ends_where_the_one_with_await_ends(credits: SyncTallystick, costs: list[int]) -> None:
    theirs = credits.run(_with_await(credits, costs))
    ours = _without_await(credits, costs)
    assert ours == theirs
    assert credits.balance("b").available == credits.balance("a").available == 25 - ours[2]


def test_s12_a_stream_is_closed_and_what_was_drawn_is_captured_when_its_reader_stops(
    credits: SyncTallystick,
) -> None:
    closed_in = []

    def chunks() -> Iterator[str]:
        try:
            yield from "abcdef"
        finally:
            closed_in.append(threading.current_thread())

    with credits.hold("a", 2) as hold:
        stream = hold.metered(chunks())
        assert [next(stream), next(stream), next(stream)] == ["a", "b", "c"]
        stream.close()
    assert closed_in == [threading.current_thread()]
    assert credits.balance("a").available == 22


def test_s12_its_cost_may_ask_for_the_balance(credits: SyncTallystick) -> None:
    with credits.hold("a", 2) as hold:
        assert list(hold.metered("ab", cost=lambda _: credits.balance("a").held)) == ["a", "b"]
        assert (hold.account_id, hold.drawn, hold.exhausted) == ("a", 4, False)


def test_s12_a_stream_is_metered_only_inside_the_block(credits: SyncTallystick) -> None:
    with credits.hold("a", 2) as hold:
        pass
    with pytest.raises(HoldClosed):
        next(hold.metered("a"))
