"""One call for work of unknown cost: credits set aside while it runs, captured when its cost is known (S12)."""

import asyncio
import uuid
from collections.abc import AsyncIterable, AsyncIterator, Callable, Coroutine
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any, Self, TypeVar

import structlog

from tallystick.domain.account import EntryKind
from tallystick.domain.amounts import require_credits
from tallystick.domain.commands import (
    HOLD_SECONDS,
    LONGEST_IDENTIFIER,
    Capture,
    ExtendHold,
    PlaceHold,
    Release,
)
from tallystick.domain.errors import (
    HoldNotOpen,
    InsufficientCredits,
    InvalidInput,
    Refusal,
    TallystickError,
    WorkNotCharged,
    shown,
)
from tallystick.ledger import Ledger, Receipt

Chunk = TypeVar("Chunk")
Done = TypeVar("Done")

LONGEST_WAIT = 5.0
"""For how many seconds a cancelled caller is kept, so that what becomes of its hold is settled."""

CAPTURES = 200
"""How many entries are looked at at once for what became of a hold."""

log = structlog.get_logger(__name__)


class HoldClosed(TallystickError):
    """A hold that was not placed yet, or that this block has captured or released already."""

    code = "hold_closed"

    def __init__(self) -> None:
        super().__init__(
            "This hold is not open here: use it inside its `async with` block, and capture or release it once. "
            "Nothing was changed."
        )


class Holding:
    """A hold for the length of an `async with` block.

    Left without a capture it is released; with credits drawn through `draw` or `metered` it captures those,
    also when the block fails, because the work they paid for was delivered. A process that dies leaves a
    hold that runs out by itself. Several tasks may draw at once.

    `key` names one attempt at the work: made again with the same key after a crash, it finds the same hold. Of one that
    was captured nothing more can be drawn. Where it was released, or ran out, before anything was captured, the block
    is not entered: WorkNotCharged is raised.
    """

    def __init__(
        self,
        ledger: Ledger,
        account_id: str,
        amount: int,
        *,
        operation: str = "",
        seconds: int = HOLD_SECONDS,
        key: str | None = None,
    ) -> None:
        self._ledger = ledger
        self._key = key or f"hold-{uuid.uuid4().hex}"
        self._place = PlaceHold(
            account_id=account_id, key=self._key, amount=amount, seconds=seconds, operation=operation
        )
        # Each run of the same work extends anew: what an earlier one did is in the hold already.
        self._run = uuid.uuid4().hex
        self._extensions = 0
        # Several may draw at once, each on what the one before has set aside.
        self._setting_aside = asyncio.Lock()
        self._spare = 0
        self._open = False
        self._is_over = False
        self.account_id = account_id
        self.id = 0
        self.amount = 0
        self.drawn = 0
        self.exhausted = False
        self.expires_at: datetime | None = None

    async def __aenter__(self) -> Self:
        placing = _kept(self._ledger.submit(self._place))
        try:
            receipt = await asyncio.shield(placing)
        except asyncio.CancelledError:
            await asyncio.wait({_kept(self._unplace(placing))}, timeout=LONGEST_WAIT)
            raise
        self.id = receipt.entry.seq
        await self._know(receipt, self._place.amount)
        if self._is_over and not await self._was_captured():
            raise WorkNotCharged(self.id, self._key)
        self._spare = max(self.amount - self._place.amount, 0)
        self._open = True
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self._open:
            await _done_all_the_same(self._end(kind))

    async def _end(self, kind: type[BaseException] | None) -> None:
        try:
            await self._settle(lambda: self._capture(self.drawn) if self.drawn else self._release())
        except HoldClosed:
            # Another task of the block was faster.
            return
        except TallystickError as error:
            if self.drawn == 0 and isinstance(error, HoldNotOpen):
                # A hold whose deadline has passed has been released already.
                return
            # What happened in the block matters more to the caller. With nothing drawn the hold runs out by itself.
            self._tell_left_open(error)
            if kind is None and self.drawn:
                raise

    async def capture(self, amount: int) -> Receipt:
        """Consume `amount` credits, as many as are held plus what is available, and release the rest.

        0 releases everything. Raises InsufficientCredits, HoldNotOpen after the deadline.
        """
        if not self._open:
            raise HoldClosed
        if type(amount) is int and amount == 0:
            return await self.release()
        capture = self._capture(require_credits(amount))
        return await _done_all_the_same(self._settle(lambda: capture))

    async def release(self) -> Receipt:
        """Give everything back now instead of at the end of the block."""
        return await _done_all_the_same(self._settle(self._release))

    async def extend(self, amount: int | None = None, *, seconds: int | None = None) -> None:
        """Set `amount` more aside, or let the hold last `seconds` from now, or both.

        Raises InsufficientCredits, which leaves the hold as it is.
        """
        async with self._setting_aside:
            if not self._open:
                raise HoldClosed
            # What an earlier run set aside beyond what this one has asked for counts as set aside now.
            spared = 0 if amount is None else min(self._spare, require_credits(amount))
            missing = None if amount is None or amount == spared else amount - spared
            if missing is not None or seconds is not None or not spared:
                await self._extend(missing, seconds)
            self._spare -= spared

    async def draw(self, amount: int) -> None:
        """Note that `amount` credits of work are about to be delivered, setting more aside when it takes that.

        More is set aside in steps as large as the hold was at first, or as far as the account goes, and the hold lasts
        longer when half of its time has passed. Raises InsufficientCredits when the account is empty; what was drawn
        before is captured all the same. Raises HoldNotOpen once the hold has run out, or when its work was paid for
        before: then nothing is to be delivered, and what was `drawn` since it was placed is not captured.
        """
        async with self._setting_aside:
            if not self._open:
                raise HoldClosed
            missing = self.drawn + require_credits(amount) - self.amount
            seconds = self._place.seconds if self._is_half_over() else None
            if missing > 0:
                try:
                    await self._extend(max(missing, self._place.amount), seconds)
                except InsufficientCredits:
                    await self._extend(missing, seconds)
            elif seconds is not None:
                await self._extend(None, seconds)
            self.drawn += amount

    async def metered(
        self, stream: AsyncIterable[Chunk], *, cost: Callable[[Chunk], int] = lambda _: 1
    ) -> AsyncIterator[Chunk]:
        """The stream, drawing each chunk's cost before it is passed on; it ends when the account is empty.

        `exhausted` says whether that was why. A chunk may cost 0.
        """
        source = aiter(stream)
        try:
            async for chunk in source:
                price = require_price(cost(chunk))
                if price:
                    try:
                        await self.draw(price)
                    except InsufficientCredits:
                        self.exhausted = True
                        return
                else:
                    await self._keep()
                yield chunk
        finally:
            close = getattr(source, "aclose", None)
            if close is not None:
                await close()

    async def _know(self, receipt: Receipt, amount: int) -> None:
        """Note what is held, and until when, after an entry of the hold."""
        self.amount, self.expires_at = amount, receipt.entry.hold_until
        if receipt.replayed:
            # More may have happened to it since, by an earlier run of the same work.
            account = await self._ledger.account(self.account_id)
            hold = next((hold for hold in account.holds if hold.id == self.id), None)
            self._is_over = hold is None
            self.amount, self.expires_at = (0, None) if hold is None else (hold.amount, hold.expires_at)

    def _is_half_over(self) -> bool:
        if self._is_over or self.expires_at is None:
            raise HoldNotOpen(self.id)
        return self._ledger.now() >= self.expires_at - timedelta(seconds=self._place.seconds) / 2

    async def _keep(self) -> None:
        """Let the hold of what was drawn last longer when that is due, though nothing is drawn now."""
        async with self._setting_aside:
            if self._open and self.drawn and self._is_half_over():
                await self._extend(None, self._place.seconds)

    async def _extend(self, amount: int | None, seconds: int | None) -> None:
        # What is asked for is part of the key: one that was cut off may have asked for something else.
        command = ExtendHold(
            account_id=self.account_id,
            key=self._derived(f"extend:{self._run}:{self._extensions + 1}:{amount or 0}:{seconds or 0}"),
            hold=self.id,
            amount=amount,
            seconds=seconds,
        )
        receipt = await self._ledger.submit(command)
        self._extensions += 1
        await self._know(receipt, self.amount + (amount or 0))

    async def _settle(self, resolving: Callable[[], Capture | Release]) -> Receipt:
        """Resolve the hold by what `resolving` says once nobody draws any more."""
        async with self._setting_aside:
            if not self._open:
                raise HoldClosed
            receipt = await self._ledger.submit(resolving())
            self._open = False
            return receipt

    async def _was_captured(self) -> bool:
        """Whether an earlier run of the same work was paid for, or may have been."""
        before: int | None = None
        while found := await self._ledger.entries(
            self.account_id, before=before, limit=CAPTURES, kind=EntryKind.CAPTURED
        ):
            if any(entry.hold == self.id for entry in found):
                return True
            before = found[-1].seq
            if before < self.id:
                break
        # Looked up after the others, as an archive may have just run: what is in it may have been the capture.
        return (await self._ledger.account(self.account_id)).archived >= self.id

    async def _unplace(self, placing: asyncio.Task[Receipt]) -> None:
        """Release the hold of a block that never began, unless it is that of an earlier run."""
        try:
            receipt = await placing
            self.id = receipt.entry.seq
            if not receipt.replayed:
                await self._ledger.submit(self._release())
        except Refusal:
            # Nothing was placed, or it is not open any more.
            return
        except TallystickError as error:
            self._tell_left_open(error)

    def _capture(self, amount: int) -> Capture:
        key = self._derived(f"capture:{amount}")
        return Capture(account_id=self.account_id, key=key, hold=self.id, amount=amount)

    def _release(self) -> Release:
        return Release(account_id=self.account_id, key=self._derived("release"), hold=self.id)

    def _tell_left_open(self, error: TallystickError) -> None:
        log.warning("hold_left_open", account=self.account_id, hold=self.id, drawn=self.drawn, reason=error.message)

    def _derived(self, what: str) -> str:
        """A key of this hold's own, however long the one is that the caller gave."""
        whole = f"{self._key}:{what}"
        return whole if len(whole) <= LONGEST_IDENTIFIER else f"{sha256(self._key.encode()).hexdigest()}:{what}"


def require_price(cost: object) -> int:
    """What a chunk of a stream costs, checked. Raises InvalidInput."""
    if isinstance(cost, bool) or not isinstance(cost, int) or cost < 0:
        raise InvalidInput(
            f"A chunk costs a whole number of credits, 0 or more, not {shown(cost)}. It was not passed on; what was "
            "drawn before is captured."
        )
    return cost


async def _done_all_the_same(work: Coroutine[Any, Any, Done]) -> Done:
    """Do `work` to its end though the task is cancelled: wait a little for it then, and let it go on if that is not
    enough, or the task is cancelled once more."""
    task = _kept(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait({task}, timeout=LONGEST_WAIT)
        raise


def _kept(work: Coroutine[Any, Any, Done]) -> asyncio.Task[Done]:
    task = asyncio.create_task(work)
    _LATE.add(task)
    task.add_done_callback(_LATE.discard)
    return task


_LATE: set[asyncio.Task[Any]] = set()
"""Tasks that perhaps nobody waits for any more; asyncio itself may forget them."""
