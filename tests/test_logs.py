"""What is logged where a host application has never set up its logging."""

import asyncio

import pytest
import structlog

from tallystick.periodically import periodically


@pytest.fixture
def unconfigured() -> None:
    structlog.reset_defaults()


@pytest.mark.usefixtures("unconfigured")
async def test_an_error_nobody_foresaw_is_logged_with_its_place_and_without_the_values_of_variables(
    capsys: pytest.CaptureFixture[str],
) -> None:
    stopping = asyncio.Event()

    async def work() -> None:
        password = "".join(("open", "sesame"))
        stopping.set()
        raise ZeroDivisionError(len(password))

    await periodically("sums", work, 0.01, stopping)
    said = capsys.readouterr().out
    assert "stumbled" in said
    assert "ZeroDivisionError: 10" in said
    assert "in work" in said
    assert "opensesame" not in said
