"""What cannot be made into a command: it is refused where it is made, so that no batch ever meets it."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from tallystick.domain.account import GrantKind
from tallystick.domain.commands import (
    Capture,
    ClawBack,
    ExtendHold,
    GrantBonus,
    PlaceHold,
    Release,
    Remove,
    RenewAllowance,
    Reverse,
    SetPlan,
    Spend,
)
from tallystick.domain.errors import InvalidInput, InvalidInstant
from tallystick.domain.periods import Period

T0 = datetime(2026, 1, 31, tzinfo=UTC)
HUGE = 10**5_000
ID: dict[str, Any] = {"account_id": "a", "key": "k"}
MADE_OF_TEXT: list[tuple[type, dict[str, Any], str]] = [
    (Spend, {"amount": 1}, "operation"),
    (PlaceHold, {"amount": 1}, "operation"),
    (Release, {"hold": 1}, "reason"),
    (Reverse, {"entry": 1}, "reason"),
    (Remove, {"amount": 1}, "reason"),
    (SetPlan, {"plan": "free"}, "reason"),
    (SetPlan, {"plan": "free"}, "reference"),
    (RenewAllowance, {"plan": "free", "period": Period(T0, T0 + timedelta(days=1))}, "reference"),
    (GrantBonus, {"credits": 1}, "reason"),
    (GrantBonus, {"credits": 1}, "reference"),
    (ClawBack, {"grant": 1, "total": 1, "version": 1}, "reference"),
]


# A lone surrogate is text to Python, but no database takes it.
@pytest.mark.parametrize(
    "text", ["a\x00b", "\ud800", "x" * 501, b"bytes", 5], ids=["NUL", "surrogate", "long", "bytes", "int"]
)
@pytest.mark.parametrize(("command", "facts", "name"), MADE_OF_TEXT)
def test_s8_text_that_no_database_takes_is_refused_before_it_can_spoil_a_batch(
    command: type, facts: dict[str, Any], name: str, text: Any
) -> None:
    with pytest.raises(InvalidInput, match=name):
        command(**ID, **facts, **{name: text})


@pytest.mark.parametrize("kind", ["allowance", "free beer", None, 5])
def test_s8_a_grant_is_of_a_known_kind(kind: Any) -> None:
    with pytest.raises(InvalidInput):
        GrantBonus(**ID, credits=1, kind=kind)


def test_the_kind_of_a_grant_may_be_written_as_its_name() -> None:
    kind: Any = "gifted"
    assert GrantBonus(**ID, credits=1, kind=kind) == GrantBonus(**ID, credits=1, kind=GrantKind.GIFTED)


_EAST, _WEST = timezone(timedelta(hours=14)), timezone(timedelta(hours=-12))


@pytest.mark.parametrize(
    "instant",
    [
        "2026-01-31",
        5,
        T0.date(),
        T0.replace(tzinfo=None),
        datetime.max.replace(tzinfo=_WEST),
        datetime.min.replace(tzinfo=_EAST),
    ],
    ids=["text", "number", "date", "naive", "after all time", "before all time"],
)
@pytest.mark.parametrize("name", ["effective_at", "expires_at"])
def test_s2_what_is_no_instant_in_utc_is_refused(name: str, instant: Any) -> None:
    with pytest.raises(InvalidInstant, match=name):
        GrantBonus(**ID, credits=1, **{name: instant})


@pytest.mark.parametrize(
    "number", [0, -1, 1.0, True, "1", None, 2**63, HUGE], ids=lambda n: repr(n) if n != HUGE else "huge"
)
def test_s1_a_number_of_an_entry_is_a_whole_one(number: Any) -> None:
    for make in (
        lambda: Capture(**ID, hold=number, amount=1),
        lambda: Reverse(**ID, entry=number),
        lambda: ClawBack(**ID, grant=number, total=1, version=1),
    ):
        with pytest.raises(InvalidInput):
            make()


@pytest.mark.parametrize(
    "seconds", [0, -1, 1.0, True, "1", 86_401, HUGE], ids=lambda n: repr(n) if n != HUGE else "huge"
)
def test_s12_a_hold_lasts_a_whole_number_of_seconds_up_to_a_day(seconds: Any) -> None:
    with pytest.raises(InvalidInput):
        PlaceHold(**ID, amount=1, seconds=seconds)
    with pytest.raises(InvalidInput):
        ExtendHold(**ID, hold=1, seconds=seconds)


def test_s7_what_an_invoice_follows_is_no_part_of_its_request() -> None:
    """An invoice that is looked at again is the same request, whatever is known of the ones before by then."""
    paid = RenewAllowance(
        account_id="acme", key="invoice:in_1", plan="plus", period=Period(T0, T0 + timedelta(days=30)), prolongs=True
    )
    later = replace(paid, follows=T0 + timedelta(days=2))
    assert later.request == paid.request
    assert "follows" not in later.request
    assert replace(later, prolongs=False).request != later.request


def test_s7_requests_of_before_a_change_of_plan_could_rest_are_the_same_still() -> None:
    leaving = SetPlan(account_id="a", key="k", plan="free")
    assert leaving.request == '["SetPlan",{"plan":"free","reason":"","reference":null,"since":null}]'
    assert replace(leaving, rests=True).request != leaving.request
