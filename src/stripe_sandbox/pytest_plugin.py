"""A pytest plugin: the fixture `stripe_sandbox`, a running sandbox for one test.

pytest finds it by itself where this package is installed, and loads it before every test run: so nothing is imported
here until a test asks for the fixture.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from stripe_sandbox.running import RunningSandbox


@pytest.fixture
def stripe_sandbox() -> Iterator[RunningSandbox]:
    """A local Stripe, empty and of this test alone."""
    from stripe_sandbox.running import running

    with running() as sandbox:
        yield sandbox
