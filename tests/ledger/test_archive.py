"""Old entries in an archive: every number stays proven, every key stays known, and nothing is ever half there."""

import asyncio
import errno
import gzip
import os
import random
import signal
import sqlite3
import sys
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from pathlib import Path

import asyncpg
import pytest

from tallystick.domain.account import EntryKind
from tallystick.domain.catalogue import Catalogue
from tallystick.domain.commands import (
    Capture,
    ClawBack,
    GrantBonus,
    KeyedCommand,
    OpenAccount,
    PlaceHold,
    Release,
    Reverse,
    SetPlan,
    Spend,
)
from tallystick.domain.errors import (
    EntryArchived,
    HoldNotOpen,
    IdempotencyConflict,
    InvalidInput,
    LedgerUnavailable,
    Refusal,
    UnknownEntry,
)
from tallystick.holding import Holding
from tallystick.ledger import Ledger, Receipt, postgres_store, sqlite_archive
from tallystick.ledger import archiving as archiving_module
from tallystick.ledger.archive_files import ArchiveUnreadable, ArchiveUnwritable
from tallystick.ledger.archiving import Archived, archive
from tallystick.ledger.ledger import BalancesArchived
from tallystick.ledger.verify import verify
from tallystick.ledger.verify_archive import verify_archive
from tests.conftest import FrozenClock
from tests.ledger.raw import execute, tampered
from tests.ledger.silence import unheard

SPENDS = 60
DAYS = 200


@pytest.fixture
async def other(database_url: str, catalogue: Catalogue, clock: FrozenClock) -> AsyncIterator[Ledger]:
    """A second ledger on the same database, as another process would have it."""
    ledger = await Ledger.open(database_url, catalogue, clock)
    yield ledger
    await ledger.close()


@pytest.fixture
async def old(ledger: Ledger, clock: FrozenClock) -> dict[str, Receipt]:
    """Two accounts that had a busy day, long ago: their receipts by key. The first one spent something since."""
    receipts = {}
    for id in ("a", "b"):
        await ledger.submit(OpenAccount(account_id=id, plan="free"))
        await ledger.submit(GrantBonus(account_id=id, key="g", credits=1_000))
        for n in range(SPENDS):
            receipts[f"{id}-{n}"] = await ledger.submit(spend(id, n))
    clock.advance(days=DAYS)
    receipts["recent"] = await ledger.submit(Spend(account_id="a", key="recent", amount=40))
    return receipts


def spend(id: str, n: int) -> Spend:
    return Spend(account_id=id, key=f"{id}-{n}", amount=1, operation="old")


async def archived(ledger: Ledger, folder: Path, days: int = 100, *, apply: bool = True) -> Archived:
    now = ledger._clock()
    return await archive(ledger.store, now - timedelta(days=days), folder, now, apply=apply)


async def everything_is_proven(ledger: Ledger, folder: Path) -> None:
    assert (await verify(ledger)).differences == []
    assert (await verify(ledger, only_new=True)).differences == []
    assert (await verify_archive(ledger, folder)).differences == []


@pytest.mark.parametrize("next_key", ["lost", "another"])
async def test_s7_what_was_not_heard_of_and_went_to_the_archive_counts_once(
    ledger: Ledger, other: Ledger, old: dict[str, Receipt], clock: FrozenClock, tmp_path: Path, next_key: str
) -> None:
    def more(key: str) -> Spend:
        return Spend(account_id="a", key=key, amount=7)

    with unheard(ledger), pytest.raises(LedgerUnavailable):
        await ledger.submit(more("lost"))
    await other.submit(more("between"))
    clock.advance(days=DAYS)
    # Their numbers are free again after this, and what is remembered is from before them.
    await archived(other, tmp_path / "archive")
    answer = await ledger.submit(more(next_key))
    assert answer.replayed == (next_key == "lost")
    assert (await ledger.submit(more("lost"))).replayed
    assert (await ledger.account("a")).monthly == (25 if next_key == "lost" else 25 - 7)
    await everything_is_proven(ledger, tmp_path / "archive")


async def test_s5_every_number_is_proven_after_entries_went_to_the_archive(
    ledger: Ledger, old: dict[str, Receipt], tmp_path: Path, database_url: str
) -> None:
    before = {id: await ledger.account(id) for id in ("a", "b")}
    planned = await archived(ledger, tmp_path / "archive", apply=False)
    assert not (tmp_path / "archive").exists()
    done = await archived(ledger, tmp_path / "archive")
    assert done == planned
    assert (done.accounts, done.differences) == (2, [])
    assert done.entries == 2 * (SPENDS - 1)
    # What made grants, and the last entry, are in the archive too but stay here.
    assert done.stayed == 2 * 3
    left = await ledger.entries("b")
    assert [entry.kind for entry in left if entry.seq <= SPENDS + 2] == ["spent", "bonus_granted", "account_opened"]
    for id, account in before.items():
        now = await ledger.account(id)
        assert (now.monthly, now.bonus, now.grants) == (account.monthly, account.bonus, account.grants)
    await everything_is_proven(ledger, tmp_path / "archive")
    whole = sum([(await ledger.account(id)).seq for id in before])
    assert whole > (await verify(ledger)).entries
    assert (await verify_archive(ledger, tmp_path / "archive")).entries == whole
    # Nothing is left to do, also for a run with a later date: a checkpoint is not worth another one.
    assert (await archived(ledger, tmp_path / "archive", 95)).entries == 0


async def test_s7_keys_in_the_archive_get_their_first_answer_again(
    ledger: Ledger, other: Ledger, old: dict[str, Receipt], tmp_path: Path
) -> None:
    # Another process remembers the account as it was before.
    await other.submit(Spend(account_id="b", key="warm", amount=1))
    await archived(ledger, tmp_path)
    for process in (other, ledger):
        for n in range(SPENDS):
            again = await process.submit(spend("b", n))
            assert again == Receipt(old[f"b-{n}"].entry, replayed=True)
    with pytest.raises(IdempotencyConflict):
        await ledger.submit(Spend(account_id="b", key="b-3", amount=2))
    # And together with new ones, in one batch, by processes that remember the account.
    mixed = [spend("b", n) for n in range(10)] + [Spend(account_id="b", key=f"new-{n}", amount=1) for n in range(10)]
    for process in (ledger, other):
        answers = await asyncio.gather(*map(process.submit, mixed))
        assert [answer.replayed for answer in answers] == [True] * 10 + [process is other] * 10
    entry = await ledger.entry_by_key("b", "b-3")
    assert entry == old["b-3"].entry
    await everything_is_proven(ledger, tmp_path)


async def test_s7_s9_what_a_ledger_remembers_from_before_the_archive_is_not_gone_on_from(
    ledger: Ledger, other: Ledger, clock: FrozenClock, tmp_path: Path
) -> None:
    """The numbers after the grant, which stays, are free again; what was decided from it must not take them."""
    await ledger.submit(OpenAccount(account_id="a", plan="free"))
    await ledger.submit(GrantBonus(account_id="a", key="g", credits=1_000))
    firsts = [await other.submit(spend("a", n)) for n in range(SPENDS)]
    clock.advance(days=DAYS)
    await archived(other, tmp_path)
    before = await other.account("a")
    again = await ledger.submit(spend("a", 0))
    assert (again.entry, again.replayed) == (firsts[0].entry, True)
    assert await other.account("a") == before
    spent = await ledger.submit(Spend(account_id="a", key="new", amount=1))
    assert spent.entry.available == before.available - 1
    assert (await verify(other)).differences == []


async def test_s7_keys_that_are_looked_up_by_the_same_number_are_told_apart(
    ledger: Ledger, old: dict[str, Receipt], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for store in (postgres_store, sqlite_archive):
        monkeypatch.setattr(store, "key_digest", lambda key: len(key))
    await archived(ledger, tmp_path)
    for n in range(0, SPENDS, 10):
        assert await ledger.submit(spend("a", n)) == Receipt(old[f"a-{n}"].entry, replayed=True)
    assert not (await ledger.submit(Spend(account_id="a", key="a-X", amount=1))).replayed


async def test_s7_a_key_is_known_throughout_while_its_entry_moves(
    ledger: Ledger, other: Ledger, old: dict[str, Receipt], tmp_path: Path
) -> None:
    running = asyncio.create_task(archived(ledger, tmp_path))
    repeats = 0
    while not running.done() or not repeats:
        answers = await asyncio.gather(*(other.submit(spend(id, n)) for id in "ab" for n in range(0, SPENDS, 7)))
        assert all(answer.replayed for answer in answers)
        await other.submit(Spend(account_id="a", key=f"meanwhile-{repeats}", amount=1))
        repeats += 1
    assert (await running).differences == []
    await everything_is_proven(ledger, tmp_path)


async def test_s13_what_is_in_the_archive_is_not_reversed_and_says_so(
    ledger: Ledger, old: dict[str, Receipt], tmp_path: Path
) -> None:
    await archived(ledger, tmp_path)
    number = old["a-30"].entry.seq
    with pytest.raises(EntryArchived) as refused:
        await ledger.submit(Reverse(account_id="a", key="r", entry=number))
    assert refused.value.details == {"account_id": "a", "entry": number, "archived": SPENDS + 2}
    with pytest.raises(UnknownEntry):
        await ledger.submit(Reverse(account_id="a", key="r", entry=1_000))
    # A recent spend from an old grant is reversed, and an old purchase is still taken back: what made it stayed.
    await ledger.submit(Reverse(account_id="a", key="r", entry=old["recent"].entry.seq))
    await ledger.submit(ClawBack(account_id="a", key="c", grant=2, total=500, version=1))
    assert (await ledger.account("a")).bonus == 1_000 - (SPENDS - 25) - 500
    await everything_is_proven(ledger, tmp_path)


async def test_questions_about_what_is_archived_are_answered_clearly(
    ledger: Ledger, old: dict[str, Receipt], tmp_path: Path
) -> None:
    opened = (await ledger.entries_up_to("a", 1))[0].effective_at
    explained = await ledger.explain("a", old["recent"].entry.seq)
    await archived(ledger, tmp_path)
    assert await ledger.explain("a", old["recent"].entry.seq) == explained
    for ask, seq in ((ledger.explain, 3), (ledger.entries_up_to, 3), (ledger.entries_up_to, explained.entry.seq)):
        with pytest.raises(EntryArchived):
            await ask("a", seq)
    assert await ledger.entry_at("a", opened - timedelta(seconds=1)) is None
    after = await ledger.entry_at("b", opened + timedelta(days=1))
    assert after is not None
    assert (after.seq, after.available) == (SPENDS + 2, 1_025 - SPENDS)


async def test_balances_before_the_archives_last_entry_are_in_the_archive(
    ledger: Ledger, clock: FrozenClock, tmp_path: Path
) -> None:
    await ledger.submit(OpenAccount(account_id="a", plan="free"))
    await ledger.submit(GrantBonus(account_id="a", key="g", credits=1_000))
    for n in range(30):
        clock.advance(minutes=1)
        await ledger.submit(spend("a", n))
    moment = clock.now
    clock.advance(days=DAYS)
    await archived(ledger, tmp_path)
    with pytest.raises(EntryArchived, match=r"kept here from number 32 on") as refused:
        await ledger.entry_at("a", moment - timedelta(minutes=5))
    # Which entry that was is not known here, so none is named.
    assert refused.value.details == {"account_id": "a", "archived": 32, "kept_since": moment.isoformat()}
    assert refused.value.code == "entry_archived"
    last = await ledger.entry_at("a", datetime.fromisoformat(refused.value.details["kept_since"]))
    assert last == await ledger.entry_at("a", moment)
    assert last is not None
    assert last.available == 1_025 - 30


async def test_years_go_to_the_archive_run_by_run(
    ledger: Ledger, clock: FrozenClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archiving_module, "STEP", 25)
    await ledger.submit(OpenAccount(account_id="a", plan="free"))
    receipts = []
    for year in range(3):
        await ledger.submit(GrantBonus(account_id="a", key=f"g{year}", credits=200))
        receipts += [await ledger.submit(spend("a", 1_000 * year + n)) for n in range(70)]
        clock.advance(days=365)
        assert (await archived(ledger, tmp_path)).entries >= 60
        await everything_is_proven(ledger, tmp_path)
    for receipt in receipts:
        command = Spend(account_id="a", key=receipt.entry.key or "", amount=1, operation="old")
        assert (await ledger.submit(command)) == Receipt(receipt.entry, replayed=True)
    # One last entry stays, not one for every run.
    up_to = (await ledger.account("a")).archived
    kinds = [e.kind for e in await ledger.entries("a", before=up_to + 1, limit=500)]
    assert [kind for kind in kinds if kind is EntryKind.SPENT] == [EntryKind.SPENT]
    assert len(list(tmp_path.glob("*.jsonl.gz"))) == 3


@pytest.mark.parametrize("reading", ["entries", "entry_at"])
async def test_what_is_asked_while_an_archive_runs_is_answered_as_after_it(
    ledger: Ledger, other: Ledger, clock: FrozenClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reading: str
) -> None:
    await ledger.submit(OpenAccount(account_id="a", plan="free"))
    await ledger.submit(GrantBonus(account_id="a", key="g", credits=1_000))
    for n in range(SPENDS):
        clock.advance(hours=1)
        await ledger.submit(spend("a", n))
    instant = clock.now - timedelta(hours=SPENDS / 2)
    clock.advance(days=DAYS)
    recent = (await ledger.submit(Spend(account_id="a", key="recent", amount=40))).entry.seq
    why = await ledger.explain("a", recent)

    read = getattr(ledger.store, reading)

    async def late(*asked: object) -> object:
        monkeypatch.undo()
        await archived(other, tmp_path)
        return await read(*asked)

    monkeypatch.setattr(ledger.store, reading, late)
    if reading == "entries":
        assert await ledger.explain("a", recent) == why
    else:
        with pytest.raises(BalancesArchived):
            await ledger.entry_at("a", instant)


async def test_s7_s12_work_whose_capture_is_in_the_archive_is_not_said_to_be_unpaid(
    ledger: Ledger, clock: FrozenClock, tmp_path: Path
) -> None:
    await ledger.submit(OpenAccount(account_id="a", plan="free"))
    async with Holding(ledger, "a", 10, key="request-1") as hold:
        await hold.draw(7)
    await ledger.submit(GrantBonus(account_id="a", key="g", credits=1_000))
    for n in range(SPENDS):
        await ledger.submit(spend("a", n))
    clock.advance(days=DAYS)
    await archived(ledger, tmp_path)
    before = (await ledger.account("a")).available
    with pytest.raises(HoldNotOpen, match="it was captured, released, or its deadline has passed"):
        async with Holding(ledger, "a", 10, key="request-1") as hold:
            await hold.draw(7)
    assert (await ledger.account("a")).available == before


async def test_only_what_is_old_and_adds_up_goes(
    ledger: Ledger, old: dict[str, Receipt], tmp_path: Path, database_url: str
) -> None:
    with pytest.raises(InvalidInput, match="90 days"):
        await archived(ledger, tmp_path, days=89)
    await tampered(database_url, "UPDATE entries SET bonus = bonus + 5 WHERE account_id = 'a' AND seq = 20")
    done = await archived(ledger, tmp_path)
    assert (done.accounts, len(done.differences)) == (1, 1)
    assert "Account a, entry 20" in done.differences[0]
    assert (await ledger.account("a")).archived == 0


async def test_s7_no_key_that_a_caller_chooses_is_in_the_way_of_the_archive(
    ledger: Ledger, old: dict[str, Receipt], clock: FrozenClock, tmp_path: Path
) -> None:
    for seq in range(SPENDS, SPENDS + 10):
        await ledger.submit(Spend(account_id="b", key=f"archive:{seq}", amount=1))
    clock.advance(days=DAYS)
    done = await archived(ledger, tmp_path)
    assert (done.accounts, done.differences) == (2, [])
    await everything_is_proven(ledger, tmp_path)


async def test_what_cannot_be_read_is_told_of_its_account_and_the_others_go(
    ledger: Ledger, old: dict[str, Receipt], tmp_path: Path, database_url: str
) -> None:
    await tampered(database_url, "UPDATE entries SET detail = '{\"lots\":[1]}' WHERE account_id = 'a' AND seq = 20")
    done = await archived(ledger, tmp_path)
    assert (done.accounts, len(done.differences)) == (1, 1)
    assert "Account a, entry 20: it cannot be read" in done.differences[0]
    await execute(database_url, "UPDATE accounts SET state = 'x' WHERE id = 'b'")
    found = await verify_archive(ledger, tmp_path)
    assert found.accounts == 2
    assert [difference.partition(" (")[0] for difference in found.differences] == [
        "Account a, entry 20: it cannot be read",
        "Account b: its row cannot be read",
    ]


@pytest.mark.parametrize("place", ["a file", "in a file", "a full disk"])
async def test_s8_an_archive_that_cannot_be_written_is_told_so_and_nothing_goes(
    ledger: Ledger, old: dict[str, Receipt], tmp_path: Path, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    folder = tmp_path / ("file/archive" if place == "in a file" else "file" if place == "a file" else "archive")

    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        if place == "a full disk":
            patch.setattr(os, "fsync", full)
        with pytest.raises(ArchiveUnwritable, match=f"{folder} does not take the archive: .*still in the database"):
            await archived(ledger, folder)
    for id in ("a", "b"):
        assert (await ledger.account(id)).archived == 0
    assert (await verify(ledger)).differences == []


async def test_s4_the_database_lets_only_go_what_is_in_the_archive(
    ledger: Ledger, old: dict[str, Receipt], tmp_path: Path, database_url: str
) -> None:
    await archived(ledger, tmp_path)
    replacing = (
        "REPLACE INTO checkpoints SELECT * FROM checkpoints",
        "REPLACE INTO archived_keys SELECT * FROM archived_keys",
    )
    for statement in (
        *(replacing if database_url.startswith("sqlite") else ()),
        "DELETE FROM entries WHERE account_id = 'a' AND kind = 'bonus_granted'",
        "DELETE FROM entries WHERE kind = 'checkpoint'",
        f"DELETE FROM entries WHERE account_id = 'b' AND seq = {SPENDS + 2}",
        "DELETE FROM entries WHERE key = 'recent'",
        "UPDATE entries SET amount = 0",
        "DELETE FROM archived_keys",
        "UPDATE archived_keys SET digest = 1",
        "DELETE FROM checkpoints",
        "UPDATE checkpoints SET up_to = 1000000",
    ):
        with pytest.raises((sqlite3.IntegrityError, asyncpg.RaiseError), match="append-only"):
            await execute(database_url, statement)
    # A checkpoint that nobody wrote as an entry opens no door.
    await execute(
        database_url, "INSERT INTO checkpoints (account_id, up_to, seq, packed) VALUES ('a', 1000000, 1, '')"
    )
    with pytest.raises((sqlite3.IntegrityError, asyncpg.RaiseError), match="append-only"):
        await execute(database_url, "DELETE FROM entries WHERE key = 'recent'")


async def test_verify_finds_what_was_changed_in_the_archive(
    ledger: Ledger, old: dict[str, Receipt], tmp_path: Path
) -> None:
    await archived(ledger, tmp_path)
    (file,) = tmp_path.glob("*.jsonl.gz")
    whole = gzip.decompress(file.read_bytes())

    async def differences(text: bytes) -> str:
        file.write_bytes(gzip.compress(text))
        return " ".join((await verify_archive(ledger, tmp_path)).differences)

    lines = whole.splitlines(keepends=True)
    assert await differences(whole) == ""
    assert "Account a: the archive up to entry 62 was changed." in await differences(
        whole.replace(b'"reason":"old"', b'"reason":"new"', 1)
    )
    assert "Account a, entry 3: amount is -2" in await differences(whole.replace(b'"amount":-1', b'"amount":-2', 1))
    for name in (b"kind", b"effective_at", b"detail"):
        told = await differences(whole.replace(b'"' + name + b'":', b'"unknown":', 1))
        assert "Account a, entry 1: it cannot be read" in told
    assert "Account a, entry 1: monthly is None" in await differences(whole.replace(b'"monthly"', b'"unknown"', 1))
    assert "'nothing' is not a valid EntryKind" in await differences(whole.replace(b'"spent"', b'"nothing"', 1))
    assert "Account a: the archive has no entry 11." in await differences(b"".join([*lines[:10], *lines[11:]]))
    assert "Account b: the archive has no entry 60." in await differences(b"".join(lines[:-3]))
    assert "Account 0 is in the archive and not in the database." in await differences(
        lines[0].replace(b'"account_id":"a"', b'"account_id":"0"') + whole
    )
    file.write_bytes(b"not gzip at all")
    with pytest.raises(ArchiveUnreadable, match="Restore it"):
        await verify_archive(ledger, tmp_path)
    file.unlink()
    assert len((await verify_archive(ledger, tmp_path)).differences) == 2


@pytest.mark.parametrize("seed", range(2))
async def test_s5_s7_any_life_with_runs_of_the_archive_in_it_stays_proven_and_known(
    ledger: Ledger, other: Ledger, clock: FrozenClock, tmp_path: Path, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archiving_module, "LEAST", 3)
    monkeypatch.setattr(archiving_module, "STEP", 40)
    chance = random.Random(seed)
    commands: list[tuple[KeyedCommand, Receipt]] = []
    holds: list[tuple[str, int]] = []
    for id in ("a", "b"):
        command = OpenAccount(account_id=id, plan="free")
        commands.append((command, await ledger.submit(command)))
    for turn in range(160):
        process = chance.choice((ledger, other))
        command = a_command(chance, turn, holds, commands)
        try:
            receipt = await process.submit(command)
        except Refusal:
            continue
        commands.append((command, receipt))
        if isinstance(command, PlaceHold):
            holds.append((command.account_id, receipt.entry.seq))
        if chance.random() < 0.15:
            clock.advance(days=chance.randrange(1, 40))
        if chance.random() < 0.06:
            assert (await archived(chance.choice((ledger, other)), tmp_path, days=92)).differences == []
    clock.advance(days=DAYS)
    assert (await archived(ledger, tmp_path)).differences == []
    await everything_is_proven(ledger, tmp_path)
    for command, receipt in commands:
        assert await chance.choice((ledger, other)).submit(command) == Receipt(receipt.entry, replayed=True)
    await everything_is_proven(ledger, tmp_path)


def a_command(
    chance: random.Random, turn: int, holds: list[tuple[str, int]], before: list[tuple[KeyedCommand, Receipt]]
) -> KeyedCommand:
    id, key = chance.choice("ab"), f"k{turn}"
    what = chance.randrange(10)
    if what < 4:
        return Spend(account_id=id, key=key, amount=chance.randrange(1, 9), operation=chance.choice(("", "ü\n")))
    if what == 4:
        return GrantBonus(account_id=id, key=key, credits=chance.randrange(1, 60), reason="gift")
    if what == 5:
        return PlaceHold(account_id=id, key=key, amount=chance.randrange(1, 5))
    if what == 6 and holds:
        id, hold = holds.pop()
        return (
            Capture(account_id=id, key=key, hold=hold, amount=1)
            if turn % 2
            else Release(account_id=id, key=key, hold=hold)
        )
    if what == 7:
        return SetPlan(account_id=id, key=key, plan="free", reason="again")
    if what == 8:
        command, receipt = chance.choice(before)
        return Reverse(account_id=command.account_id, key=key, entry=receipt.entry.seq)
    return GrantBonus(
        account_id=id, key=key, credits=5, expires_at=receipt_time(before) + timedelta(days=chance.randrange(1, 50))
    )


def receipt_time(before: list[tuple[KeyedCommand, Receipt]]) -> datetime:
    return max(receipt.entry.recorded_at for _, receipt in before)


async def test_s8_a_run_that_is_killed_has_happened_or_not_step_by_step(
    ledger: Ledger, clock: FrozenClock, database_url: str, tmp_path: Path
) -> None:
    receipts: list[Receipt] = []
    for n in range(12):
        await ledger.submit(OpenAccount(account_id=f"acc{n}", plan="free"))
        await ledger.submit(GrantBonus(account_id=f"acc{n}", key="g", credits=1_000))
        receipts += await asyncio.gather(*(ledger.submit(spend(f"acc{n}", k)) for k in range(40)))
    before = {f"acc{n}": await ledger.account(f"acc{n}") for n in range(12)}
    clock.advance(days=DAYS)
    chance = random.Random(5)
    done: list[int] = []
    for kills in range(4):
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.ledger.archivist", database_url, str(tmp_path), clock.now.isoformat(),
            stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        assert process.stdout is not None
        for _ in range(chance.randrange(1, 4)):
            await process.stdout.readline()
        if kills < 3:
            await asyncio.sleep(chance.random() * 0.06)
            process.send_signal(signal.SIGKILL)
        await process.communicate()
        done = [(await ledger.account(id)).archived for id in before]
        assert set(done) <= {0, 42}
        assert (await verify(ledger)).differences == []
        assert (await verify_archive(ledger, tmp_path)).differences == []
    assert set(done) == {42}
    for id, account in before.items():
        assert (await ledger.account(id)).bonus == account.bonus
    for receipt in receipts:
        command = spend(receipt.entry.account_id, int((receipt.entry.key or "").partition("-")[2]))
        assert await ledger.submit(command) == Receipt(receipt.entry, replayed=True)
