"""What tests of an order at the hosted checkout page share: promotion codes, and a buyer without a browser."""

from dataclasses import dataclass
from typing import Any

import httpx2
import stripe

from tests.sandbox.conftest import CARD, open_session
from tests.sandbox.visiting import readable


async def promotion(
    client: stripe.StripeClient, code: str, coupon: dict[str, Any] | None = None, **given: Any
) -> stripe.PromotionCode:
    """A promotion code; `coupon` is half of everything if nothing else is said."""
    made = await client.v1.coupons.create_async({"duration": "once", **(coupon or {"percent_off": 50})})  # type: ignore[typeddict-item]
    return await client.v1.promotion_codes.create_async(
        {"promotion": {"type": "coupon", "coupon": made.id}, "code": code, **given}  # type: ignore[typeddict-item]
    )


@dataclass
class Buyer:
    """Somebody at the page of a checkout session."""

    http: httpx2.AsyncClient
    client: stripe.StripeClient
    id: str
    url: str

    async def see(self) -> str:
        return readable((await self.http.get(self.url)).text)

    async def type_code(self, code: str) -> str:
        return await self._send("promotion_code", code=code)

    async def remove_code(self) -> str:
        return await self._send("promotion_code", remove="1")

    async def take(self, quantity: object, line: str = "") -> str:
        return await self._send("quantity", quantity=str(quantity), line=line or (await self.lines())[0].id)

    async def pay(self, **changes: str) -> tuple[int, str]:
        answer = await self.http.post(self.url, data={**CARD, **changes})
        return answer.status_code, readable(answer.text)

    async def session(self, *expand: str) -> Any:
        return await self.client.v1.checkout.sessions.retrieve_async(self.id, {"expand": list(expand)})

    async def lines(self) -> list[Any]:
        return (await self.client.v1.checkout.sessions.line_items.list_async(self.id)).data

    async def _send(self, what: str, **fields: str) -> str:
        """Send a form. Returns what the page says then."""
        answer = await self.http.post(f"{self.url}/{what}", data=fields, follow_redirects=True)
        return readable(answer.text)


async def buyer(client: stripe.StripeClient, http: httpx2.AsyncClient, **options: Any) -> Buyer:
    session = await open_session(client, **options)
    return Buyer(http, client, session.id, str(session.url))
