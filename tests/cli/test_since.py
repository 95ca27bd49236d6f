"""`--since`, which every command reads alike."""

from datetime import UTC, datetime

import pytest

from tallystick.cli.since import read_since
from tallystick.domain.errors import InvalidInput


@pytest.mark.parametrize(
    ("text", "instant"),
    [
        ("2026-11-01", datetime(2026, 11, 1, tzinfo=UTC)),
        ("2026-11-01T09:30", datetime(2026, 11, 1, 9, 30, tzinfo=UTC)),
        ("2026-11-01T09:30:15Z", datetime(2026, 11, 1, 9, 30, 15, tzinfo=UTC)),
        ("2026-11-01T09:30+01:00", datetime(2026, 11, 1, 8, 30, tzinfo=UTC)),
        (None, None),
    ],
)
def test_s2_a_day_or_a_moment_is_utc_unless_it_says_otherwise(text: str | None, instant: datetime | None) -> None:
    assert read_since(text) == instant


@pytest.mark.parametrize("text", ["yesterday", "2026-13-01", ""])
def test_anything_else_is_refused_with_what_it_should_be(text: str) -> None:
    with pytest.raises(InvalidInput, match="a day like 2026-11-01"):
        read_since(text)
