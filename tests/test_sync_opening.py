"""Opening and closing the twin without `await`, with threads at work meanwhile, on both databases."""

import asyncio
import contextlib
import subprocess
import sys
import threading
import time
from concurrent.futures import CancelledError, ThreadPoolExecutor
from pathlib import Path

import pytest

from tallystick import Plan, loop_thread
from tallystick.loop_thread import ClosedMeanwhile
from tallystick.service import NotOpen
from tallystick.sync import SyncTallystick

ROOT = Path(__file__).parents[1]

LONG = 20
"""Seconds within which everything here has ended, unless it hangs."""


@pytest.fixture
def credits(database_url: str) -> SyncTallystick:
    return SyncTallystick(database_url, plans=[Plan("free", 25)])


def test_what_is_under_way_when_it_is_closed_is_finished(credits: SyncTallystick) -> None:
    credits.open()
    with ThreadPoolExecutor(1) as threads:
        working = threads.submit(credits.run, asyncio.sleep(0.3, "done"))
        time.sleep(0.1)
        credits.close()
        assert working.result(LONG) == "done"


def test_what_does_not_end_in_time_is_given_up_and_its_caller_told(
    credits: SyncTallystick, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def stubborn() -> None:
        for _ in range(3):
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(LONG)

    monkeypatch.setattr(loop_thread, "FINISH_SECONDS", 0.1)
    credits.open()
    with ThreadPoolExecutor(2) as threads:
        working = [threads.submit(credits.run, asyncio.sleep(LONG)), threads.submit(credits.run, stubborn())]
        time.sleep(0.1)
        credits.close()
        for given_up in working:
            with pytest.raises(ClosedMeanwhile, match=r"may or may not .* again with the same idempotency key"):
                given_up.result(LONG)
    with pytest.raises(NotOpen):
        credits.balance("a")


def test_what_cancels_itself_is_not_taken_for_the_end(credits: SyncTallystick) -> None:
    async def gives_up() -> None:
        raise asyncio.CancelledError

    with credits, pytest.raises(CancelledError):
        credits.run(gives_up())


def test_closing_leaves_no_thread_hanging(credits: SyncTallystick) -> None:
    over = threading.Event()
    strange: list[BaseException] = []

    def ask() -> None:
        while not over.is_set():
            try:
                credits.open_account("a")
                credits.balance("a")
                credits.entries("a")
            except NotOpen:
                time.sleep(0.001)
            except BaseException as error:
                strange.append(error)

    threads = [threading.Thread(target=ask, daemon=True) for _ in range(4)]
    for thread in threads:
        thread.start()
    for _ in range(15):
        credits.open()
        time.sleep(0.02)
        credits.close()
    over.set()
    for thread in threads:
        thread.join(LONG)
    assert [thread for thread in threads if thread.is_alive()] == []
    assert strange == []


def test_threads_that_open_at_once_open_once_and_wait_for_it(credits: SyncTallystick) -> None:
    def use(_: int) -> int:
        credits.open()
        return credits.open_account("a").available

    def loops() -> int:
        return sum(thread.name == "tallystick" for thread in threading.enumerate())

    before = loops()
    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(use, range(4), timeout=LONG)) == [25] * 4
    assert loops() == before + 1
    credits.close()
    assert loops() == before


def test_who_asks_while_another_thread_opens_it_waits_for_that(credits: SyncTallystick) -> None:
    with ThreadPoolExecutor(1) as threads:
        opening = threads.submit(credits.open)
        while not any(thread.name == "tallystick" for thread in threading.enumerate()):
            time.sleep(0.001)
        assert credits.open_account("a").available == 25
        opening.result(LONG)
    credits.close()


def test_it_can_be_opened_again_after_it_could_not_be_opened(tmp_path: object) -> None:
    credits = SyncTallystick(f"sqlite:///{tmp_path}/not there/x.db", plans=[Plan("free", 25)])
    for _ in range(2):
        with pytest.raises(Exception, match=r"."):
            credits.open()
    assert not any(thread.name == "tallystick" for thread in threading.enumerate())
    credits.close()


def test_s12_what_happened_in_the_block_of_a_hold_is_told_though_it_was_closed_meanwhile(
    credits: SyncTallystick,
) -> None:
    credits.open()
    credits.open_account("a")
    with pytest.raises(RuntimeError, match="model is down"), credits.hold("a", 10):
        credits.close()
        raise RuntimeError("model is down")
    with credits:
        assert credits.balance("a").held == 10


def test_a_forked_process_is_told_to_open_its_own_and_leaves_the_parents_alone(database_url: str) -> None:
    command = [sys.executable, "-m", "tests.forking", database_url]
    said = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=True).stdout
    assert sorted(said.splitlines()) == sorted(
        ["child got open_in_parent", "child ended with 0"] * 3
        + ["parent has 24", "parent has 23", "child has 22", "parent has 21", "parent closed"]
    )
