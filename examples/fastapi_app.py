"""Tallystick inside a FastAPI application that brings its own login. Run it with:

STRIPE_SECRET_KEY=sk_test_… STRIPE_WEBHOOK_SECRET=whsec_… uvicorn examples.fastapi_app:app
"""

import os
from typing import Annotated

from fastapi import Depends, FastAPI, Header, HTTPException
from fastapi.responses import JSONResponse
from pydantic import BaseModel

from tallystick import InsufficientCredits, Pack, Plan, Tallystick

TOKENS = {"secret-of-ann": "ann", "secret-of-bob": "bob"}


async def current_user_id(authorization: Annotated[str, Header()] = "") -> str | None:
    """The application's own login: here a bearer token, in yours whatever you have."""
    return TOKENS.get(authorization.removeprefix("Bearer "))


credits = Tallystick(
    database_url=os.environ.get("DATABASE_URL", "sqlite:///example.db"),
    plans=[
        Plan("free", allowance=25),
        Plan("plus", allowance=500, can_buy=True, stripe_price=os.environ.get("STRIPE_PLUS_PRICE_ID", "price_plus")),
    ],
    packs=[
        Pack(
            "credits_200",
            credits=200,
            price="5.99 USD",
            stripe_price=os.environ.get("STRIPE_CREDIT_PACK_200_PRICE_ID", "price_credits"),
        )
    ],
)
app = FastAPI(lifespan=credits.lifespan)
app.include_router(credits.router(current_user=current_user_id))


class Work(BaseModel):
    prompt: str
    request_id: str


@app.post("/generate")
async def generate(work: Work, user: Annotated[str | None, Depends(current_user_id)]) -> dict[str, object]:
    if user is None:
        raise HTTPException(401)
    await credits.open_account(user)
    spent = await credits.spend(user, 3, key=work.request_id, operation="generate")
    return {"answer": work.prompt.upper(), "credits_left": spent.available}


@app.exception_handler(InsufficientCredits)
async def out_of_credits(_request: object, error: InsufficientCredits) -> JSONResponse:
    return JSONResponse({"detail": error.message, **error.details}, 402)
