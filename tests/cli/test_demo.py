"""The demo as a real process: prints what a person needs, keeps its data, stops cleanly, survives being killed."""

import asyncio
import json
import re
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tallystick.cli.customers import FREE, OPERATOR, PASSWORD, PLUS, pay, seed
from tallystick.cli.house import open_house
from tallystick.clock import system_clock
from tallystick.domain.catalogue import Catalogue, Plan
from tallystick.ledger import Ledger
from tallystick.ledger.verify import verify

TALLYSTICK = [sys.executable, "-u", "-c", "from tallystick.cli import app; app()"]
COMMAND = [*TALLYSTICK, "demo"]


@dataclass
class Demo:
    process: asyncio.subprocess.Process
    url: str
    text: str

    async def stop(self, how: int = signal.SIGINT) -> int:
        self.process.send_signal(how)
        return await asyncio.wait_for(self.process.wait(), 20)


async def start(folder: Path, *words: str, port: int = 0) -> Demo:
    process = await asyncio.create_subprocess_exec(
        *COMMAND,
        "--data",
        str(folder),
        "--port",
        str(port),
        *words,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    assert process.stdout is not None
    text = ""
    async with asyncio.timeout(60):
        while "Ctrl-C stops" not in text:
            line = await process.stdout.readline()
            assert line, f"the demo ended: {text}"
            text += line.decode()
    match = re.search(r"Open\s+(http://127\.0\.0\.1:\d+)", text)
    assert match is not None, text
    return Demo(process, match.group(1), text)


@asynccontextmanager
async def signed_in(demo: Demo) -> AsyncIterator[httpx2.AsyncClient]:
    async with httpx2.AsyncClient(base_url=demo.url, timeout=20) as browser:
        answer = await browser.post("/sign-in", data={"email": PLUS, "password": PASSWORD})
        assert answer.status_code == 303
        yield browser


async def balance(browser: httpx2.AsyncClient) -> dict[str, Any]:
    return dict((await browser.get("/api/credits/balance")).json())


async def status(browser: httpx2.AsyncClient, purchase_id: str) -> str:
    return str((await browser.get(f"/api/purchases/{purchase_id}")).json()["status"])


async def test_the_demo_prints_where_to_look_keeps_its_data_and_stops_cleanly(tmp_path: Path) -> None:
    demo = await start(tmp_path / "data")
    for shown in (FREE, PLUS, OPERATOR, PASSWORD, "4242 4242 4242 4242", "/sandbox/", f". {tmp_path}/data/demo.env"):
        assert shown in demo.text
    async with signed_in(demo) as browser:
        assert (await balance(browser))["monthly"] == 500
        await browser.post("/generate", data={"key": "k"})
    assert await demo.stop() == 0

    again = await start(tmp_path / "data")
    async with signed_in(again) as browser:
        assert (await balance(browser))["monthly"] == 497
    assert await again.stop(signal.SIGTERM) == 0

    fresh = await start(tmp_path / "data", "--fresh")
    async with signed_in(fresh) as browser:
        assert (await balance(browser))["monthly"] == 500
    assert await fresh.stop() == 0


async def test_commands_work_with_a_demo_by_the_settings_that_it_leaves(tmp_path: Path) -> None:
    folder = tmp_path / "its data"
    async with open_house(folder, port=0, sandbox_port=0) as house:
        await seed(house)
        buyer = await house.users.find(PLUS)
        assert buyer is not None
        started = await house.credits.billing.start_pack_checkout(buyer.account_id)
        await pay(started.url, PLUS)

        async def command(*words: str) -> subprocess.CompletedProcess[str]:
            reading = ["sh", "-c", '. "$0" && exec "$@"', str(folder / "demo.env"), *TALLYSTICK, *words]
            return await asyncio.to_thread(
                subprocess.run, reading, cwd=tmp_path, capture_output=True, text=True, check=False
            )

        said = await command("stripe", "doctor")
        again = await command("stripe", "setup")
        reconciled = await command("reconcile", "--apply")
        refunded = await command("refund", str(started.purchase_id), "--yes")
    assert (said.returncode, "all is well" in said.stdout) == (0, True), said.stdout
    assert "Nothing to do: all of it is there." in again.stdout
    assert reconciled.returncode == 0
    assert "Refunded 5.99 USD" in refunded.stdout, refunded.stderr
    assert (folder / "demo.env").stat().st_mode & 0o077 == 0


async def test_a_free_port_is_found_when_the_usual_one_is_taken_and_a_folder_is_used_by_one(
    tmp_path: Path, port: int
) -> None:
    first = await start(tmp_path / "one", port=port)
    second = await start(tmp_path / "two", port=port)
    assert first.url != second.url
    refused = await asyncio.create_subprocess_exec(
        *COMMAND, "--data", str(tmp_path / "one"), stderr=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    _, complaint = await refused.communicate()
    assert refused.returncode == 1
    assert b"Another demo is using the data" in complaint
    assert await first.stop() == 0
    assert await second.stop() == 0


async def test_once_buys_and_spends_and_ends_with_one_line_of_json(tmp_path: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        *COMMAND, "--once", cwd=tmp_path, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    out, err = await asyncio.wait_for(process.communicate(), 90)
    assert process.returncode == 0, err.decode()
    result = json.loads(out.decode().splitlines()[-1])
    assert result["ok"] is True
    changes = {step["step"]: (step["before"], step["after"]) for step in result["steps"]}
    before, after = changes["buy a pack"]
    assert (before["bonus"], after["bonus"]) == (0, 200)
    before, after = changes["press Generate, past the allowance"]
    assert (before["monthly"], after["monthly"], after["bonus"]) == (2, 0, 199)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("moment", ["started", "paid", "delivered", "returned"])
async def test_killed_at_any_moment_of_a_purchase_the_customer_is_credited_exactly_once(
    tmp_path: Path, port: int, moment: str
) -> None:
    demo = await start(tmp_path / "data", port=port)
    async with signed_in(demo) as browser:
        started = (await browser.post("/api/stripe/create-credit-checkout", json={})).json()
        if moment == "started":
            assert await demo.stop(signal.SIGKILL) == -signal.SIGKILL
            demo = await start(tmp_path / "data", port=port)
    async with signed_in(demo) as browser:
        back = await pay(started["url"], PLUS)
        if moment == "delivered":
            # Somewhere between the webhook's arrival and the entry.
            await asyncio.sleep(0.03)
        if moment == "returned":
            await browser.get(back)
    if moment != "started":
        await demo.stop(signal.SIGKILL)
        demo = await start(tmp_path / "data", port=port)
    async with signed_in(demo) as browser:
        async with asyncio.timeout(60):
            # The entry is written first and the purchase says so a moment later.
            while await status(browser, started["purchase_id"]) != "credited":
                await asyncio.sleep(0.2)
        assert (await balance(browser))["bonus"] == 200
        await asyncio.sleep(1)
        assert (await balance(browser))["bonus"] == 200
    assert await demo.stop() == 0
    ledger = await Ledger.open(
        f"sqlite:///{tmp_path / 'data' / 'tallystick.db'}", Catalogue([Plan("free", 25)]), system_clock
    )
    assert (await verify(ledger)).differences == []
    await ledger.close()
