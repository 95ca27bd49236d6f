"""The twin without `await`: the same methods, the same answers, usable from many threads."""

import inspect
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tallystick import HoldNotOpen, InsufficientCredits, Plan, Tallystick
from tallystick.holding import Holding
from tallystick.service import NotOpen
from tallystick.sync import SyncTallystick
from tests.conftest import FrozenClock


@pytest.fixture
def credits(database_url: str) -> Iterator[SyncTallystick]:
    with SyncTallystick(database_url, plans=[Plan("free", 25)]) as made:
        made.open_account("a")
        yield made


@pytest.fixture
def plain(database_url: str) -> Tallystick:
    return Tallystick(database_url, plans=[Plan("free", 25)])


def _public(made: object) -> dict[str, object]:
    """What is public of it by name: the parameters of each method, and None for what is no method."""
    names = [name for name in dir(made) if not name.startswith("_")]
    return {name: _parameters(getattr(type(made), name, None)) for name in names}


def _parameters(member: object) -> list[object] | None:
    if not inspect.isfunction(member):
        return None
    return [
        (one.name, one.kind, _default(one.default), str(one.annotation).replace("Async", ""))
        for one in inspect.signature(member).parameters.values()
    ]


def _default(given: object) -> object:
    """Two functions are the same default when they give the same."""
    return given(object()) if inspect.isfunction(given) else given


def test_a_hold_has_the_same_on_both_sides(credits: SyncTallystick) -> None:
    with credits.hold("a", 1) as hold:
        assert _public(hold) == _public(Holding(credits.ledger, "a", 1))


def test_both_sides_have_the_same_but_what_an_asgi_application_mounts(
    credits: SyncTallystick, plain: Tallystick
) -> None:
    ours, theirs = _public(credits), _public(plain)
    assert ours.keys() - theirs.keys() == {"run"}
    assert theirs.keys() - ours.keys() == {"lifespan", "router"}
    shared = ours.keys() & theirs.keys()
    assert {name: ours[name] for name in shared} == {name: theirs[name] for name in shared}


def test_it_works_without_await(credits: SyncTallystick) -> None:
    spent = credits.spend("a", 5, key="s")
    assert credits.reverse("a", spent.seq, key="r").available == 25
    with credits.hold("a", 10) as hold:
        hold.extend(5)
        assert (hold.amount, credits.balance("a").held) == (15, 15)
        hold.capture(7)
    assert credits.balance("a").available == 18
    with pytest.raises(RuntimeError), credits.hold("a", 10):
        raise RuntimeError
    with pytest.raises(InsufficientCredits):
        credits.spend("a", 19, key="s2")
    assert [entry.seq for entry in credits.entries("a", limit=2)] == [8, 7]


def test_s9_threads_spend_exactly_what_is_there(credits: SyncTallystick) -> None:
    def spend(n: int) -> bool:
        try:
            credits.spend("a", 1, key=f"k{n}")
        except InsufficientCredits:
            return False
        return True

    with ThreadPoolExecutor(16) as threads:
        assert sum(threads.map(spend, range(60))) == 25


def test_it_says_when_it_is_not_open(tmp_path: object) -> None:
    credits = SyncTallystick(f"sqlite:///{tmp_path}/x.db", plans=[Plan("free", 25)])
    with pytest.raises(NotOpen):
        credits.balance("a")


def test_s12_a_block_that_ends_after_its_hold_says_that_what_was_drawn_is_not_captured(
    database_url: str, clock: FrozenClock
) -> None:
    with SyncTallystick(database_url, plans=[Plan("free", 25)], clock=clock) as credits:
        credits.open_account("a")
        with pytest.raises(HoldNotOpen), credits.hold("a", 10) as hold:
            hold.draw(3)
            clock.advance(minutes=15)
        with pytest.raises(RuntimeError, match="model is down"), credits.hold("a", 10) as hold:
            hold.draw(3)
            clock.advance(minutes=15)
            raise RuntimeError("model is down")
        assert credits.balance("a").available == 25


def test_s12_chunks_that_cost_nothing_keep_the_hold_of_what_was_drawn(database_url: str, clock: FrozenClock) -> None:
    with SyncTallystick(database_url, plans=[Plan("free", 25)], clock=clock) as credits:
        credits.open_account("a")
        with credits.hold("a", 10) as hold:
            for _ in hold.metered([5, 0, 0, 0, 0], cost=lambda chunk: chunk):
                clock.advance(minutes=6)
        assert credits.balance("a").available == 20
