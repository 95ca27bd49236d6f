"""`tallystick stripe doctor`: what is well between this installation and Stripe, what is not, and how to mend it."""

from rich.console import Console

from tallystick.billing import Doctor, Finding, State
from tallystick.cli.accounts import print_json
from tallystick.cli.running import EXIT_REFUSED
from tallystick.cli.stripe_setup import open_setup
from tallystick.clock import system_clock
from tallystick.config import ConfigurationError, environment, load_database_url, load_settings

_MARKS = {
    State.OK: "[green]ok[/]      ",
    State.WARNING: "[yellow]warning[/] ",
    State.FAILED: "[red]wrong[/]   ",
    State.UNSEEN: "[yellow]unseen[/]  ",
}


async def doctor(*, as_json: bool) -> int:
    """Print every finding. Returns the exit code: 1 when something is wrong. Raises ConfigurationError."""
    env = environment()
    async with open_setup(env) as (setup, api):
        findings = await Doctor(setup, api, load_database_url(env), system_clock, _problem(env)).examine()
    wrong = any(finding.state is State.FAILED for finding in findings)
    if as_json:
        print_json({"ok": not wrong, "checks": [_as_json(finding) for finding in findings]})
    else:
        _print(findings)
    return EXIT_REFUSED if wrong else 0


def _problem(env: dict[str, str]) -> str | None:
    try:
        load_settings(env)
    except ConfigurationError as error:
        return "; ".join(f"{problem.name} {problem.what.rstrip('.')}" for problem in error.problems)
    return None


def _print(findings: tuple[Finding, ...]) -> None:
    console = Console(highlight=False, soft_wrap=True)
    for finding in findings:
        console.print(_MARKS[finding.state], end="")
        console.print(f"{finding.check}: {finding.what}", markup=False)
        if finding.to_do is not None:
            console.print(f"         → {finding.to_do}", markup=False)
    counts = {state: sum(finding.state is state for finding in findings) for state in State}
    said = [
        f"{counts[state]} {word}"
        for state, word in ((State.FAILED, "wrong"), (State.WARNING, "to look at"), (State.UNSEEN, "not seen"))
        if counts[state]
    ]
    console.print(f"\n{len(findings)} checks: {', '.join(said) or 'all is well'}. Nothing was changed.")


def _as_json(finding: Finding) -> dict[str, str | None]:
    return {"check": finding.check, "state": finding.state, "what": finding.what, "to_do": finding.to_do}
