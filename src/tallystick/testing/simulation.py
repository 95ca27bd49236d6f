"""A rough day: callers, two processes, one database, faults; the rules are checked after every step.

What runs is the real ledger, from `submit` to the statements of the SQLite store; simulated are time, the
order in which things happen, and what fails. All chance comes from the seed.
"""

import asyncio
import hashlib
import random
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import cache
from pathlib import Path

from tallystick.database.schema import upgrade
from tallystick.database.urls import file_url
from tallystick.domain.account import Entry
from tallystick.domain.catalogue import Catalogue, Pack, Plan
from tallystick.domain.commands import (
    Capture,
    ClawBack,
    ExtendHold,
    GrantBonus,
    KeyedCommand,
    OpenAccount,
    PlaceHold,
    Release,
    Remove,
    RenewAllowance,
    Reverse,
    SetPlan,
    Spend,
    require_number,
)
from tallystick.domain.errors import IdempotencyConflict, Refusal, TallystickError, Unavailable
from tallystick.domain.periods import Period
from tallystick.ledger import Ledger
from tallystick.ledger.sqlite_store import SqliteStore
from tallystick.ledger.verify import verify
from tallystick.testing.faults import FaultRates, Faults, FaultyWorker
from tallystick.testing.virtual import VirtualClock, run

PROCESSES = 2
NO_FAULTS = FaultRates(0, 0, 0, 0, 0, 0, 0)
PATIENCE = 30
"""How often a caller repeats a command whose outcome it does not know before it stops asking."""


class InvariantBroken(AssertionError):
    """A rule did not hold. Says which, after which step of which seed: the same seed comes there again."""


class LoopIsRunning(TallystickError):
    """A day was to be simulated inside a running event loop, and it needs one of its own, in virtual time."""

    code = "loop_is_running"

    def __init__(self) -> None:
        super().__init__(
            "simulate() was called inside a running event loop, and runs one of its own. Nothing was simulated. Call it "
            "from a test that is not async, or as: await asyncio.to_thread(simulate, ...)"
        )


@dataclass(frozen=True, slots=True)
class Simulated:
    """What became of a day. `digest` is that of all entries: the same for the same seed."""

    seed: int
    steps: int
    accepted: int
    refused: int
    unknown: int
    crashes: int
    faults: dict[str, int]
    entries: int
    digest: str


def simulate(
    plans: Iterable[Plan],
    packs: Iterable[Pack] = (),
    *,
    seed: int,
    steps: int = 100,
    callers: int = 6,
    accounts: int = 3,
    rates: FaultRates | None = None,
) -> Simulated:
    """Let `callers` take `steps` steps on `accounts` accounts of this catalogue.

    Raises InvariantBroken when one of S4 to S9 does not hold, InvalidInput when one of the three is not 1 or more, and
    LoopIsRunning inside a running event loop.
    """
    for value, name in ((callers, "callers"), (steps, "steps"), (accounts, "accounts")):
        require_number(value, name)
    _require_no_loop()
    template = _template()
    catalogue = Catalogue(plans, packs)
    with tempfile.TemporaryDirectory(prefix="tallystick-simulated-") as folder:
        path = Path(folder) / "ledger.db"
        path.write_bytes(template)
        day = _Day(str(path), catalogue, seed, accounts, rates or FaultRates())
        return run(day.live(steps, callers))


def _require_no_loop() -> None:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return
    raise LoopIsRunning


@cache
def _template() -> bytes:
    """A database with the current schema, empty: made once, copied for every day."""
    with tempfile.TemporaryDirectory(prefix="tallystick-simulated-") as folder:
        path = Path(folder) / "empty.db"
        asyncio.run(upgrade(file_url(path)))
        return path.read_bytes()


@dataclass(frozen=True, slots=True)
class _Process:
    ledger: Ledger
    workers: list[FaultyWorker]


class _Day:
    def __init__(self, path: str, catalogue: Catalogue, seed: int, accounts: int, rates: FaultRates) -> None:
        self._path = path
        self._catalogue = catalogue
        self._seed = seed
        self._chance = random.Random(seed)  # noqa: S311
        self._faults = Faults(rates, self._chance)
        self._clock = VirtualClock()
        self._ids = [f"account-{n}" for n in range(accounts)]
        self._processes: list[_Process] = []
        # Kept to the end, so that what is left of them is ended in order.
        self._dead: list[_Process] = []
        self._witness = self._start(Faults(NO_FAULTS, random.Random(seed))).ledger  # noqa: S311
        self._acknowledged: dict[tuple[str, str], tuple[KeyedCommand, Entry]] = {}
        self._seen: dict[str, list[Entry]] = {id: [] for id in self._ids}
        self._steps = self._accepted = self._refused = self._unknown = self._crashes = 0

    async def live(self, steps: int, callers: int) -> Simulated:
        self._processes = [self._start(self._faults) for _ in range(PROCESSES)]
        for id in self._ids:
            await self._insist(OpenAccount(account_id=id, plan=self._catalogue.first_plan.name))
        todo = iter(range(steps))
        await asyncio.gather(*(self._call(todo) for _ in range(callers)))
        for id in self._ids:
            await self._check(id)
        proof = await verify(self._witness)
        self._hold("S5", not proof.differences, "; ".join(proof.differences))
        for ledger in (*(process.ledger for process in self._processes), self._witness):
            await ledger.close()
        for worker in (worker for process in self._dead for worker in process.workers):
            await worker.close()
        written = repr([entry for id in self._ids for entry in self._seen[id]])
        return Simulated(
            seed=self._seed,
            steps=self._steps,
            accepted=self._accepted,
            refused=self._refused,
            unknown=self._unknown,
            crashes=self._crashes,
            faults=dict(self._faults.seen),
            entries=proof.entries,
            digest=hashlib.sha256(written.encode()).hexdigest(),
        )

    def _start(self, faults: Faults) -> "_Process":
        workers: list[FaultyWorker] = []

        def work(path: str, _name: str) -> FaultyWorker:
            workers.append(FaultyWorker(path, faults))
            return workers[-1]

        store = SqliteStore(self._path, self._catalogue, self._clock, work)
        return _Process(Ledger(store, self._catalogue, self._clock), workers)

    async def _call(self, todo: Iterable[int]) -> None:
        for step in todo:
            if self._faults.strikes("crash"):
                self._crash()
            if self._chance.random() < 0.1:
                self._clock.advance(timedelta(hours=self._chance.choice((1, 12, 24 * 9, 24 * 40))))
            await self._step(step)
            self._steps += 1

    def _crash(self) -> None:
        """A process dies: nobody who waits for it is answered, and what it remembered is gone."""
        self._crashes += 1
        n = self._chance.randrange(PROCESSES)
        self._dead.append(self._processes[n])
        for worker in self._processes[n].workers:
            worker.die()
        self._processes[n] = self._start(self._faults)

    async def _step(self, step: int) -> None:
        known = list(self._acknowledged.values())
        if known and self._chance.random() < 0.1:
            command, entry = self._chance.choice(known)
            await self._repeat(command, entry)
        else:
            command = self._draw(step)
            await self._insist(command)
        await self._check(command.account_id)

    async def _repeat(self, command: KeyedCommand, entry: Entry) -> None:
        """The same key again: for the same request the first answer, for another one a conflict (S7)."""
        other = isinstance(command, Spend) and self._chance.random() < 0.3
        if other and isinstance(command, Spend):
            answer, _ = await self._ask(replace(command, amount=command.amount + 1))
            conflict = isinstance(answer, IdempotencyConflict) or answer is None
            self._hold("S7", conflict, f"another request with key {command.key} was answered with {answer}")
            return
        answer, _ = await self._ask(command)
        same = answer is None or answer == entry
        self._hold("S7", same, f"key {command.key} was answered with {entry} and then with {answer}")

    async def _insist(self, command: KeyedCommand) -> None:
        answer, tries = await self._ask(command)
        if isinstance(answer, Entry):
            self._accepted += 1
            self._acknowledged[(command.account_id, command.key)] = (command, answer)
        elif answer is None:
            self._unknown += 1
        else:
            self._refused += 1
            if tries > 1:
                # An earlier try, given up on while it was under way, may take effect after this refusal.
                return
            written = await self._witness.entry_by_key(command.account_id, command.key)
            self._hold("S8", written is None, f"{command} was refused with {answer}, but left {written}")

    async def _ask(self, command: KeyedCommand) -> tuple[Entry | TallystickError | None, int]:
        """Send `command`, again with the same key while its outcome is unknown. Returns the answer, None when
        it stays unknown, and the number of tries.
        """
        for tries in range(1, PATIENCE + 1):
            process = self._processes[self._chance.randrange(PROCESSES)]
            patience = 0.002 if self._faults.strikes("impatient") else 5
            try:
                async with asyncio.timeout(patience):
                    return (await process.ledger.submit(command)).entry, tries
            except Refusal as refusal:
                return refusal, tries
            except (Unavailable, TimeoutError):
                await asyncio.sleep(self._chance.choice((0, 0.01, 0.2)))
        return None, PATIENCE

    async def _check(self, account_id: str) -> None:
        """S4 to S9, as far as one account shows them."""
        # Others go on while this looks: it can only be held to what was known before.
        acknowledged, seen = dict(self._acknowledged), self._seen[account_id]
        proof = await self._witness.store.prove(account_id)
        if proof is None:
            return
        self._hold("S5", proof.written == proof.proven, f"{proof.written} is written, {proof.proven} is proven")
        account = proof.written
        numbers = (account.monthly, account.bonus, account.held, account.available, account.debt)
        self._hold("S6", min(numbers) >= 0, f"a balance is negative: {account}")
        entries = await self._witness.entries_up_to(account_id, account.seq)
        self._hold("S4", entries[: len(seen)] == seen, f"an entry of {account_id} was changed or is gone")
        keys = [entry.key for entry in entries if entry.key is not None]
        self._hold("S9", len(keys) == len(set(keys)), f"a key of {account_id} took effect twice")
        self._seen[account_id] = max(entries, self._seen[account_id], key=len)
        for (id, key), (_, entry) in acknowledged.items():
            if id == account_id:
                kept = entries[entry.seq - 1] if entry.seq <= len(entries) else None
                self._hold("S8", kept == entry, f"{key} was acknowledged as {entry}, and is {kept}")

    def _hold(self, rule: str, holds: bool, otherwise: str) -> None:
        if not holds:
            raise InvariantBroken(f"{rule} was broken with seed {self._seed}, step {self._steps}: {otherwise}")

    def _draw(self, step: int) -> KeyedCommand:
        """Any command, on any account, mostly one that has a chance to be accepted."""
        chance, id, key = self._chance, self._chance.choice(self._ids), f"step-{step}"
        number = chance.randint(1, max(1, len(self._seen[id])))
        amount = chance.choice((1, 3, 20, 150))
        now = self._clock()
        plan = chance.choice(self._catalogue.plans).name
        match chance.randrange(14):
            case 0 | 1:
                credits = chance.choice([pack.credits for pack in self._catalogue.packs] or [200])
                expires = chance.choice((None, None, timedelta(days=20)))
                return GrantBonus(
                    account_id=id, key=key, credits=credits, expires_at=None if expires is None else now + expires
                )
            case 2 | 3:
                return PlaceHold(account_id=id, key=key, amount=amount, seconds=chance.choice((1, 900, 86_400)))
            case 4:
                return Capture(account_id=id, key=key, hold=number, amount=amount)
            case 5:
                return Release(account_id=id, key=key, hold=number)
            case 6:
                return ExtendHold(account_id=id, key=key, hold=number, amount=amount)
            case 7:
                return Reverse(account_id=id, key=key, entry=number)
            case 8:
                frozen = chance.random() < 0.3
                return ClawBack(
                    account_id=id, key=key, grant=number, total=amount - 1, version=step + 1, frozen=frozen
                )
            case 9:
                return SetPlan(account_id=id, key=key, plan=plan)
            case 10:
                period = Period(now, now + timedelta(days=chance.choice((1, 30))))
                return RenewAllowance(account_id=id, key=key, plan=plan, period=period)
            case 11:
                return Remove(account_id=id, key=key, amount=amount, reason="simulated correction")
            case _:
                return Spend(account_id=id, key=key, amount=amount)
