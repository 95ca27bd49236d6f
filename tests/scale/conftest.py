"""What a ledger meets past one machine: a real PgBouncer in front of its PostgreSQL."""

import asyncio
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import asyncpg
import pytest

PLANNER = ("enable_seqscan", "enable_hashjoin", "enable_mergejoin")
SERVER_CONNECTIONS = 2


class Bouncer:
    """One PgBouncer in transaction mode, with fewer connections to PostgreSQL than a ledger has to it."""

    def __init__(self, folder: Path, server: str, port: int) -> None:
        self._folder = folder
        self._server = urlsplit(server)
        options = parse_qs(self._server.query)
        self._host = options.get("host", [self._server.hostname or "127.0.0.1"])[0]
        self.port = port
        self._process: subprocess.Popen[bytes] | None = None

    def url(self, database: str, *, say_so: bool = True) -> str:
        return f"postgresql://anyone@127.0.0.1:{self.port}/{database}" + ("?pgbouncer=true" if say_so else "")

    def start(self) -> None:
        # In Debian it lies where only root looks for programs.
        program = shutil.which("pgbouncer", path=f"{os.environ['PATH']}:/usr/sbin")
        assert program, "the tests need PgBouncer: ./run test installs it"
        self._configure()
        command = [program, "--quiet", str(self._folder / "pgbouncer.ini")]
        if os.geteuid() == 0:
            # It refuses to be root. The server's own user can reach its socket.
            user = Path(self._host).owner() if self._host.startswith("/") else "nobody"
            shutil.chown(self._folder, user)
            command[1:1] = ["--user", user]
        self._process = subprocess.Popen(command)
        for _ in range(200):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            assert self._process.poll() is None, (self._folder / "log").read_text()
            time.sleep(0.05)
        raise AssertionError("PgBouncer did not start")

    def _configure(self) -> None:
        port, user, password = self._server.port or 5432, self._server.username or "postgres", self._server.password
        login = f"host={self._host} port={port} user={user}" + (f" password={password}" if password else "")
        (self._folder / "pgbouncer.ini").write_text(
            f"[databases]\n* = {login}\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {self.port}\n"
            f"unix_socket_dir =\nauth_type = any\npool_mode = transaction\ndefault_pool_size = {SERVER_CONNECTIONS}\n"
            f"logfile = {self._folder}/log\nserver_login_retry = 1\n"
        )

    def kill(self) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait()


@pytest.fixture
def bouncer(postgres_server: str, port: int) -> Iterator[Bouncer]:
    folder = Path(tempfile.mkdtemp(prefix="tallystick-bouncer-"))
    bouncer = Bouncer(folder, postgres_server, port)
    bouncer.start()
    try:
        yield bouncer
    finally:
        bouncer.kill()
        shutil.rmtree(folder)


@pytest.fixture
async def pooled_url(bouncer: Bouncer, postgres_url: str) -> AsyncIterator[str]:
    """A fresh, migrated database behind PgBouncer, whose role has the planner settings."""
    connection = await asyncpg.connect(postgres_url)
    for name in PLANNER:
        await connection.execute(
            f"DO $$BEGIN EXECUTE format('ALTER ROLE %I IN DATABASE %I SET {name} = off', current_user, current_database()); END$$"
        )
    await connection.close()
    yield bouncer.url(urlsplit(postgres_url).path.strip("/"))
    # PostgreSQL does not drop a database to which PgBouncer is still connected.
    await asyncio.to_thread(bouncer.kill)
