"""The demo's people. The PLUS customer becomes one the way every customer does: by paying for it."""

import asyncio
import re

import httpx2

from tallystick.cli.house import House
from tallystick.domain.errors import TallystickError

FREE = "free@example.com"
PLUS = "plus@example.com"
OPERATOR = "operator@example.com"
PASSWORD = "tallystick-demo"
CARD = {
    "payment_method": "card",
    "card_number": "4242 4242 4242 4242",
    "exp": "12 / 40",
    "cvc": "123",
    "name": "Pat Plus",
}


class SandboxRefused(TallystickError):
    """The sandbox's checkout page did not take the payment."""

    code = "sandbox_refused"


async def seed(house: House) -> None:
    """Make the people that are not there yet, and wait until the PLUS customer's plan has arrived."""
    users = house.users
    for email, operator in ((FREE, False), (PLUS, False), (OPERATOR, True)):
        if await users.find(email) is None:
            await users.create(email, PASSWORD, is_operator=operator)
    await subscribe(house, PLUS, "plus")


async def subscribe(house: House, email: str, plan: str) -> None:
    """Have somebody who signed up pay for a plan, and wait until it has arrived. Who has it already pays nothing."""
    user = await house.users.find(email)
    if user is None:
        raise LookupError(f"nobody has signed up as {email}")
    balance = await house.credits.open_account(user.account_id)
    if balance.plan == plan:
        return
    checkout = await house.credits.billing.start_plan_checkout(user.account_id, plan=plan, email=email)
    await pay(checkout.url, email)
    async with asyncio.timeout(30):
        while (balance := await house.credits.balance(user.account_id)).plan != plan or not balance.monthly:
            await asyncio.sleep(0.05)


async def pay(checkout_url: str, email: str) -> str:
    """Pay at the sandbox's hosted page like a browser would. Returns where it sends the buyer."""
    async with httpx2.AsyncClient(timeout=10) as browser:
        page = await browser.get(checkout_url)
        page.raise_for_status()
        answer = await browser.post(checkout_url, data={**CARD, "email": email})
    if answer.status_code != 303:
        complaint = re.search(r'role="alert"[^>]*>\s*([^<]+)', answer.text)
        raise SandboxRefused(f"The checkout page said: {complaint.group(1) if complaint else answer.status_code}")
    return str(answer.headers["location"])
