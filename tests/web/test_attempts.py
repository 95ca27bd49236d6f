"""How often one may try to sign in."""

from types import SimpleNamespace

import pytest

from tallystick.web.attempts import PER_CLIENT, PER_EMAIL, RETRY_AFTER, Attempts


def kept(attempts: Attempts) -> int:
    return len(attempts._storage.storage)


def test_an_email_and_a_client_have_so_many_attempts_and_then_again_after_five_minutes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 1_800_000_000.0
    monkeypatch.setattr("limits.storage.memory.time", SimpleNamespace(time=lambda: now))
    attempts = Attempts()
    answers = [attempts.too_many(f"client{n}", "a@example.com") for n in range(PER_EMAIL.amount + 1)]
    assert answers == [False] * PER_EMAIL.amount + [True]
    answers = [attempts.too_many("one", f"{n}@example.com") for n in range(PER_CLIENT.amount + 1)]
    assert answers == [False] * PER_CLIENT.amount + [True]
    now += RETRY_AFTER + 1
    assert not attempts.too_many("one", "a@example.com")


def test_a_client_that_is_refused_takes_no_more_memory() -> None:
    attempts = Attempts()
    for n in range(2_000):
        attempts.too_many("one", f"{n}@example.com")
    assert kept(attempts) == PER_CLIENT.amount + 1


def test_counts_that_are_over_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1_800_000_000.0
    monkeypatch.setattr("limits.storage.memory.time", SimpleNamespace(time=lambda: now))
    attempts = Attempts()
    for n in range(40):
        attempts.too_many("one", f"{n}@example.com")
    assert kept(attempts) == 41
    now += 3 * RETRY_AFTER
    attempts.too_many("another", "a@example.com")
    for _ in range(200):
        if kept(attempts) <= 2:
            break
        attempts._storage.timer.join(0.05)
    assert kept(attempts) == 2
