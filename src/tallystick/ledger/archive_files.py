"""The archive: files of old entries, one JSON object a line, gzip, with a hash over each account's lines.

A run of the archive writes one file, accounts in order of their ids and entries in order of their numbers. What
was written down but never taken out of the database, because the run was killed, is in a later file once more.
"""

import gzip
import heapq
import json
import os
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from itertools import groupby
from pathlib import Path
from typing import Any

from tallystick.domain.account import Entry
from tallystick.domain.errors import TallystickError
from tallystick.ledger.codec import ENTRY_COLUMNS, entry_from, entry_row

SUFFIX = ".jsonl.gz"


class ArchiveUnreadable(TallystickError):
    """A file of the archive that is not what was written, or a folder that is not there."""

    code = "archive_unreadable"

    def __init__(self, file: Path, why: str, to_do: str = "Restore it from a copy") -> None:
        super().__init__(f"{file} of the archive cannot be read: {why}. Nothing was changed. {to_do}.")


class ArchiveUnwritable(TallystickError):
    """A folder that takes no archive, or a disk that took no more of it."""

    code = "archive_unwritable"

    def __init__(self, folder: Path, error: OSError) -> None:
        super().__init__(
            f"{folder} does not take the archive: {error.strerror or error}. What it has not taken is still in the "
            "database, unchanged. Name a folder that can be written to, or make room there, and run again."
        )


@dataclass(frozen=True, slots=True)
class Line:
    """One entry in the archive: its account, its number, and the very bytes that were hashed."""

    account_id: str
    seq: int
    text: bytes

    def entry(self) -> Entry:
        """The entry it says. Raises LedgerMismatch when it says none."""
        values = json.loads(self.text)
        row = [*(values.get(name) for name in ENTRY_COLUMNS[:-1]), json.dumps(values.get("detail"))]
        return entry_from(row, datetime.fromisoformat)


def line_of(entry: Entry) -> Line:
    """An entry as it stands in the archive."""
    values: dict[str, Any] = dict(zip(ENTRY_COLUMNS, entry_row(entry, datetime.isoformat), strict=True))
    values["detail"] = json.loads(values["detail"])
    return Line(entry.account_id, entry.seq, json.dumps(values, separators=(",", ":")).encode())


def first_hash(account_id: str) -> str:
    """The hash over an account's archive that has no lines yet."""
    return sha256(f"tallystick archive 1\n{account_id}\n".encode()).hexdigest()


def next_hash(before: str, line: Line) -> str:
    """The hash over an account's lines up to this one."""
    return sha256(bytes.fromhex(before) + line.text).hexdigest()


def make_folder(folder: Path) -> None:
    """Make the folder of the archive, or leave it as it is. Raises ArchiveUnwritable."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ArchiveUnwritable(folder, error) from error


class ArchiveWriter:
    """The file of one run. Nothing of it counts before `flush`."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._waiting: list[bytes] = []

    def add(self, line: Line) -> None:
        """Take a line, to be written with the next flush."""
        self._waiting.append(line.text + b"\n")

    def flush(self) -> None:
        """Write what was added and wait until the disk has it. Each flush can be read by itself.

        Raises ArchiveUnwritable.
        """
        if not self._waiting:
            return
        try:
            self._write()
        except OSError as error:
            raise ArchiveUnwritable(self._file.parent, error) from error
        self._waiting.clear()

    def _write(self) -> None:
        is_new = not self._file.exists()
        with self._file.open("ab") as out:
            out.write(gzip.compress(b"".join(self._waiting), mtime=0))
            out.flush()
            os.fsync(out.fileno())
        if is_new:
            folder = os.open(self._file.parent, os.O_RDONLY)
            os.fsync(folder)
            os.close(folder)


def read_archive(folder: Path) -> Iterator[tuple[str, Iterator[Line]]]:
    """The accounts of the archive in order of their ids, each with its lines in order, each line once.

    Raises ArchiveUnreadable for a folder that is not there, for a damaged file, or when two files say different things
    of one entry. A file whose end is missing is read up to there: that is what a killed run leaves.
    """
    if not folder.is_dir():
        raise ArchiveUnreadable(folder, "there is no such folder", "Name the one that entries were archived to")
    lines = heapq.merge(*map(_lines, sorted(folder.glob("*" + SUFFIX))), key=lambda found: found[:2])
    for account_id, group in groupby(lines, key=lambda found: found[0]):
        yield account_id, _each_once(group)


def _each_once(lines: Iterator[tuple[str, int, Line, Path]]) -> Iterator[Line]:
    before: Line | None = None
    for _, _, line, file in lines:
        if before is not None and before.seq == line.seq:
            if before.text != line.text:
                raise ArchiveUnreadable(file, f"another file says entry {line.seq} of {line.account_id} differently")
            continue
        before = line
        yield line


def _lines(file: Path) -> Iterator[tuple[str, int, Line, Path]]:
    try:
        with gzip.open(file) as lines:
            for text in lines:
                if not text.endswith(b"\n"):
                    return
                values = json.loads(text)
                yield values["account_id"], values["seq"], Line(values["account_id"], values["seq"], text[:-1]), file
    except EOFError:
        return
    except (OSError, zlib.error, ValueError, KeyError, TypeError) as error:
        raise ArchiveUnreadable(file, str(error) or type(error).__name__) from error
