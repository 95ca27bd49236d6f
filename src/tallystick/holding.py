"""One call for work of unknown cost: credits set aside while it runs, captured when its cost is known (S12)."""

import uuid
from collections.abc import AsyncIterable, AsyncIterator, Callable
from contextlib import suppress
from datetime import datetime
from typing import Self, TypeVar

import structlog

from tallystick.domain.account import Entry
from tallystick.domain.amounts import require_credits
from tallystick.domain.commands import HOLD_SECONDS, Capture, ExtendHold, KeyedCommand, PlaceHold, Release
from tallystick.domain.errors import HoldNotOpen, InsufficientCredits, InvalidInput, TallystickError, Unavailable
from tallystick.ledger import Ledger, Receipt

Chunk = TypeVar("Chunk")

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
    hold that runs out by itself. `key` names the work: repeating it with the same key finds the same hold.
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
        self._extensions = 0
        self._open = False
        self.account_id = account_id
        self.id = 0
        self.amount = 0
        self.drawn = 0
        self.exhausted = False
        self.expires_at: datetime | None = None

    async def __aenter__(self) -> Self:
        entry = await self._submit(self._place)
        self.id, self.amount, self.expires_at = entry.seq, self._place.amount, entry.hold_until
        self._open = True
        return self

    async def __aexit__(self, *_: object) -> None:
        if not self._open:
            return
        try:
            # A hold whose deadline has passed has been released already.
            with suppress(HoldNotOpen):
                await self.capture(self.drawn)
        except Unavailable as error:
            # What happened in the block matters more to the caller; the hold runs out by itself.
            log.warning("hold_left_open", account=self.account_id, hold=self.id, reason=error.message)

    async def capture(self, amount: int) -> Receipt:
        """Consume `amount` credits, as many as are held plus what is available, and release the rest.

        0 releases everything. Raises InsufficientCredits, HoldNotOpen after the deadline.
        """
        if not self._open:
            raise HoldClosed
        if amount == 0 and not isinstance(amount, bool):
            return await self.release()
        key = f"{self._key}:capture:{require_credits(amount)}"
        receipt = await self._ledger.submit(Capture(account_id=self.account_id, key=key, hold=self.id, amount=amount))
        self._open = False
        return receipt

    async def release(self) -> Receipt:
        """Give everything back now instead of at the end of the block."""
        if not self._open:
            raise HoldClosed
        receipt = await self._ledger.submit(
            Release(account_id=self.account_id, key=f"{self._key}:release", hold=self.id)
        )
        self._open = False
        return receipt

    async def extend(self, amount: int | None = None, *, seconds: int | None = None) -> None:
        """Set `amount` more aside, or let the hold last `seconds` from now, or both.

        Raises InsufficientCredits, which leaves the hold as it is.
        """
        if not self._open:
            raise HoldClosed
        command = ExtendHold(
            account_id=self.account_id,
            key=f"{self._key}:extend:{self._extensions + 1}",
            hold=self.id,
            amount=amount,
            seconds=seconds,
        )
        entry = await self._submit(command)
        self._extensions += 1
        self.amount += amount or 0
        self.expires_at = entry.hold_until

    async def draw(self, amount: int) -> None:
        """Note that `amount` credits of work are about to be delivered, setting more aside when it takes that.

        More is set aside in steps as large as the hold was at first, or as far as the account goes. Raises
        InsufficientCredits when the account is empty; what was drawn before is captured all the same.
        """
        if not self._open:
            raise HoldClosed
        missing = self.drawn + require_credits(amount) - self.amount
        if missing > 0:
            try:
                await self.extend(max(missing, self._place.amount))
            except InsufficientCredits:
                await self.extend(missing)
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
                price = cost(chunk)
                if price < 0:
                    raise InvalidInput(f"A chunk cannot cost {price} credits.")
                if price:
                    try:
                        await self.draw(price)
                    except InsufficientCredits:
                        self.exhausted = True
                        return
                yield chunk
        finally:
            close = getattr(source, "aclose", None)
            if close is not None:
                await close()

    async def _submit(self, command: KeyedCommand) -> Entry:
        return (await self._ledger.submit(command)).entry
