"""The twin without `await`: the same methods, the same answers, usable from many threads."""

import inspect
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tallystick import InsufficientCredits, Plan, Tallystick
from tallystick.holding import Holding
from tallystick.service import NotOpen
from tallystick.sync import SyncHolding, SyncTallystick


@pytest.fixture
def credits(database_url: str) -> Iterator[SyncTallystick]:
    with SyncTallystick(database_url, plans=[Plan("free", 25)]) as made:
        made.open_account("a")
        yield made


def _public(kind: type) -> dict[str, inspect.Signature]:
    return {
        name: inspect.signature(member)
        for name, member in inspect.getmembers(kind, inspect.isfunction)
        if not name.startswith("_")
    }


# What belongs to asynchronous applications: routes, and streams of an event loop.
_ASYNC_ALONE = {"lifespan", "router", "metered"}


@pytest.mark.parametrize(("plain", "sync"), [(Tallystick, SyncTallystick), (Holding, SyncHolding)])
def test_both_sides_have_the_same_methods_with_the_same_parameters(plain: type, sync: type) -> None:
    theirs = {name: list(s.parameters.values()) for name, s in _public(plain).items() if name not in _ASYNC_ALONE}
    ours = {name: list(s.parameters.values()) for name, s in _public(sync).items() if name != "run"}
    assert ours == theirs


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
