"""`tallystick stripe setup`: say what is missing at Stripe, make it, and print the settings that follow from it."""

import secrets
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from rich.console import Console

from tallystick.billing import HANDLED_EVENTS, Done, Setup, SetupPlan, SetupStopped, StripeApi, writes
from tallystick.cli.accounts import print_json
from tallystick.cli.running import EXIT_REFUSED
from tallystick.config import environment, load_setup_settings
from tallystick.domain.errors import InvalidInput

SECRET_NAME = "SECRET_KEY"
"""What signs people in. It has nothing to do with Stripe, but a service does not start without it."""


@asynccontextmanager
async def open_setup(env: Mapping[str, str]) -> AsyncIterator[tuple[Setup, StripeApi]]:
    """What sets up the account of the environment's key, and what talks to it. Raises ConfigurationError."""
    settings, catalogue = load_setup_settings(env)
    api = StripeApi(settings)
    try:
        yield Setup(settings, api, catalogue, env, HANDLED_EVENTS), api
    finally:
        await api.close()


async def setup(*, dry_run: bool, apply: bool, new_secret: bool, as_json: bool) -> int:
    """Print the plan and, unless it is only to be said, carry it out. Returns the exit code: 1 when something is left.

    Raises ConfigurationError, InvalidInput, and SetupStopped after what was done by then was printed.
    """
    if dry_run and apply:
        raise InvalidInput("--dry-run changes nothing and --apply does: give one of them. Nothing was changed.")
    env = environment()
    async with open_setup(env) as (room, _):
        plan = await room.plan(new_secret=new_secret)
        does_it = writes(livemode=room.livemode, dry_run=dry_run, apply=apply)
        printer = _Printer(livemode=room.livemode, as_json=as_json)
        printer.plan(plan, applies=does_it)
        if not does_it:
            printer.only_said(plan)
            return 0
        try:
            done = await room.apply(plan, printer.step)
        except SetupStopped as stopped:
            printer.outcome(room, stopped.done, plan, env, error=stopped)
            raise
        printer.outcome(room, done, plan, env)
    return EXIT_REFUSED if any(notice.needed for notice in plan.notices) else 0


class _Printer:
    """Everything that is said on the way, as text or as one JSON object at the end."""

    def __init__(self, *, livemode: bool, as_json: bool) -> None:
        self._console = Console(highlight=False, soft_wrap=True, quiet=as_json)
        self._mode = "live" if livemode else "test"
        self._as_json = as_json

    def plan(self, plan: SetupPlan, *, applies: bool) -> None:
        self._console.print(f"[bold]Stripe, {self._mode} mode.[/]")
        if not plan.steps:
            self._console.print("Nothing to do: all of it is there.")
        elif not applies:
            self._console.print("It would:")
            for step in plan.steps:
                self._say(f"  - {step}")

    def step(self, step: object) -> None:
        self._say(f"  - {step}")

    def only_said(self, plan: SetupPlan) -> None:
        if self._as_json:
            print_json({**self._said(plan), "applied": False, "environment": {}})
            return
        self._notices(plan)
        flag = " --apply" if self._mode == "live" else ""
        self._console.print(
            f"Nothing was changed. To do it: tallystick stripe setup{flag}" if plan.steps else "Nothing was changed."
        )

    def outcome(
        self, room: Setup, done: Done, plan: SetupPlan, env: Mapping[str, str], error: SetupStopped | None = None
    ) -> None:
        lines = room.environment_lines(done)
        if error is None and not env.get(SECRET_NAME):
            lines[SECRET_NAME] = secrets.token_urlsafe(48)
        catalogue = [(offer.place, price) for offer, price in room.catalogue_lines(done)]
        if self._as_json:
            answer = {
                **self._said(plan),
                "applied": True,
                "done": [str(step) for step in done.steps],
                "environment": lines,
                "catalogue": dict(catalogue),
            }
            print_json({**answer, "error": error.message} if error else answer)
            return
        self._lines(lines, catalogue, done)
        self._notices(plan)
        if error is None:
            self._console.print("Then: tallystick migrate, tallystick serve")

    def _lines(self, lines: Mapping[str, str], catalogue: list[tuple[str, str]], done: Done) -> None:
        if lines:
            self._console.print("\nPut these lines into .env, in the place of any of the same name:\n")
            for name, value in lines.items():
                self._say(f"{name}={value}")
            self._console.print()
        else:
            self._console.print("The settings are as they have to be.")
        if done.webhook_secret is not None:
            self._console.print("Stripe tells the signing secret only now. Lost, it is replaced by --new-secret.")
        for place, price in catalogue:
            self._say(f"Change {place}: it has to be {price}")

    def _notices(self, plan: SetupPlan) -> None:
        for notice in plan.notices:
            self._console.print("[red]For you:[/]" if notice.needed else "[yellow]Note:[/]", end=" ")
            self._say(f"{notice.what}\n  {notice.to_do}")

    def _say(self, text: str) -> None:
        self._console.print(text, markup=False)

    def _said(self, plan: SetupPlan) -> dict[str, Any]:
        return {
            "mode": self._mode,
            "steps": [str(step) for step in plan.steps],
            "notices": [{"what": n.what, "to_do": n.to_do, "needed": n.needed} for n in plan.notices],
        }
