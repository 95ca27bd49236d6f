"""The ports that tests give to servers in other processes."""

import socket

import httpx2
import pytest
from starlette.applications import Starlette

from tests.serving import serving


async def test_a_held_port_answers_to_nobody_but_the_server_that_asks_for_it_and_does_so_each_time(port: int) -> None:
    with socket.socket() as other, pytest.raises(OSError, match="in use"):
        other.bind(("127.0.0.1", port))
    async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}") as http:
        for _ in range(2):
            with pytest.raises(httpx2.TransportError):
                await http.get("/")
            async with serving(Starlette(), port):
                assert (await http.get("/")).status_code == 404
