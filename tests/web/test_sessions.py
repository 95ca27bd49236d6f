"""Sessions that have run out are forgotten, on both databases."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
from sqlalchemy import func, select

from tallystick import Plan, Tallystick
from tallystick.database.engine import Database
from tallystick.database.tables import sessions
from tallystick.web import context
from tallystick.web import sessions as module
from tallystick.web.app import WebSettings, create_app
from tallystick.web.sessions import LIFETIME, Sessions
from tallystick.web.users import Users
from tests.conftest import FrozenClock
from tests.web.conftest import PASSWORD

KEY = "k" * 40


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    made = Database.connect(database_url)
    yield made
    await made.close()


async def kept(database: Database) -> int:
    count = select(func.count()).select_from(sessions)
    return int(await database.read(lambda connection: connection.execute(count).scalar_one()))


async def test_sessions_that_have_run_out_are_forgotten_though_nobody_comes_back(
    database: Database, clock: FrozenClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "AT_ONCE", 2)
    who = [(await Users(database, clock).create(f"{n}@example.com", PASSWORD)).id for n in range(2)]
    held = Sessions(database, clock, KEY)
    for _ in range(3):
        for user_id in who:
            await held.start(user_id)
    clock.advance(days=1)
    alive = await held.start(who[0])
    assert await held.forget() == 0
    clock.now += LIFETIME - timedelta(days=1)
    assert await held.forget() == 6
    assert await held.forget() == 0
    assert await kept(database) == 1
    assert await held.find(alive) is not None


async def test_the_service_forgets_sessions_while_it_runs(
    database_url: str, database: Database, clock: FrozenClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(context, "FORGET_SECONDS", 0.02)
    user = await Users(database, clock).create("ann@example.com", PASSWORD)
    await Sessions(database, clock, KEY).start(user.id)
    app = create_app(
        Tallystick(database_url, plans=[Plan("free", 25)], clock=clock), WebSettings("http://127.0.0.1", KEY)
    )
    async with app.router.lifespan_context(app), asyncio.timeout(20):
        await asyncio.sleep(0.1)
        assert await kept(database) == 1
        clock.now += LIFETIME
        while await kept(database):
            await asyncio.sleep(0.02)
    assert not [task for task in asyncio.all_tasks() if task.get_name().startswith("tallystick")]
