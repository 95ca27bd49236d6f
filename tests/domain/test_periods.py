"""S2 and S3: instants and periods."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tallystick.domain.errors import InvalidInstant
from tallystick.domain.periods import Period, period_containing, period_of, require_instant

instants = st.timedeltas(timedelta(0), timedelta(days=30_000)).map(datetime(2000, 1, 1, tzinfo=UTC).__add__)


def test_s3_months_are_counted_from_the_anchor_and_clamped() -> None:
    anchor = datetime(2027, 1, 31, 12, tzinfo=UTC)
    starts = [period_of(anchor, n).start for n in range(4)]
    assert [(s.month, s.day) for s in starts] == [(1, 31), (2, 28), (3, 31), (4, 30)]
    assert all(s.hour == 12 for s in starts)


def test_s3_a_leap_year_has_its_29_february() -> None:
    assert period_of(datetime(2028, 1, 31, tzinfo=UTC), 1).start == datetime(2028, 2, 29, tzinfo=UTC)


@given(anchor=instants, offset=st.timedeltas(timedelta(0), timedelta(days=4000)))
def test_s3_every_instant_lies_in_exactly_one_period(anchor: datetime, offset: timedelta) -> None:
    instant = anchor + offset
    period = period_containing(anchor, instant)
    assert instant in period
    n = next(n for n in range(200) if period_of(anchor, n) == period)
    assert period_of(anchor, n + 1).start == period.end
    assert instant not in period_of(anchor, n + 1)


def test_s2_a_period_is_half_open() -> None:
    period = period_of(datetime(2026, 1, 1, tzinfo=UTC), 0)
    assert period.start in period
    assert period.end not in period


def test_s2_an_instant_without_a_timezone_is_refused() -> None:
    with pytest.raises(InvalidInstant):
        require_instant(datetime(2026, 1, 1), "effective_at")  # noqa: DTZ001 - the naive instant is the point


def test_s2_other_timezones_become_utc() -> None:
    plus_two = timezone(timedelta(hours=2))
    assert require_instant(datetime(2026, 1, 1, 2, tzinfo=plus_two), "x").isoformat() == "2026-01-01T00:00:00+00:00"


def test_s2_a_period_that_ends_before_it_starts_is_refused() -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    with pytest.raises(InvalidInstant):
        Period(now, now)
