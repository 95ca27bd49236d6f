"""`tallystick stripe setup` and `doctor` as an operator types them, in front of a sandbox: from a key alone to settings
that serve."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from stripe_sandbox import Sandbox, SandboxServer
from tallystick.config import load_settings
from tests.cli.test_commands import tallystick

PRICES = ("STRIPE_PLUS_PRICE_ID", "STRIPE_CREDIT_PACK_200_PRICE_ID")


@pytest.fixture
def server() -> Iterator[SandboxServer]:
    with SandboxServer(Sandbox()).in_thread() as running:
        yield running


@pytest.fixture
def key(server: SandboxServer) -> dict[str, str]:
    return {"STRIPE_SECRET_KEY": "sk_test_1", "STRIPE_API_BASE": server.url}


def test_a_key_alone_is_enough_and_the_lines_it_prints_make_a_service(tmp_path: Path, key: dict[str, str]) -> None:
    answer = tallystick(tmp_path, "stripe", "setup", **key)
    assert (answer.returncode, answer.stderr) == (0, "")
    lines = [line for line in answer.stdout.splitlines() if "=" in line and line.split("=")[0].isupper()]
    (tmp_path / ".env").write_text("\n".join(lines))
    environment = dict(line.split("=", 1) for line in lines)
    assert set(environment) == {*PRICES, "STRIPE_WEBHOOK_SECRET", "SECRET_KEY"}
    load_settings({**key, **environment})
    assert "only now" in answer.stdout
    again = tallystick(tmp_path, "stripe", "setup", **key)
    assert again.returncode == 0
    for words in ("test mode", "Nothing to do", "The settings are as they have to be"):
        assert words in again.stdout


def test_a_dry_run_says_what_it_would_do_and_does_nothing(
    tmp_path: Path, key: dict[str, str], server: SandboxServer
) -> None:
    answer = tallystick(tmp_path, "stripe", "setup", "--dry-run", **key)
    assert answer.returncode == 0
    for words in ("It would:", "5.99 USD once", "19.00 USD a month", "webhook endpoint", "Nothing was changed."):
        assert words in answer.stdout
    assert server.sandbox.events() == []
    both = tallystick(tmp_path, "stripe", "setup", "--dry-run", "--apply", **key)
    assert (both.returncode, "give one of them" in both.stderr) == (1, True)


def test_json_is_one_object_with_the_settings_and_what_is_left(tmp_path: Path, key: dict[str, str]) -> None:
    said = json.loads(tallystick(tmp_path, "stripe", "setup", "--dry-run", "--json", **key).stdout)
    assert (said["mode"], said["applied"], said["environment"]) == ("test", False, {})
    done = json.loads(tallystick(tmp_path, "stripe", "setup", "--json", **key).stdout)
    assert (done["applied"], done["done"]) == (True, said["steps"])
    prices = {name: done["environment"][name] for name in PRICES}
    left = tallystick(tmp_path, "stripe", "setup", "--json", **key, **prices)
    # Nobody but the operator can find the secret that was shown once.
    assert left.returncode == 1
    assert [notice["needed"] for notice in json.loads(left.stdout)["notices"]] == [True]
    secret = {"STRIPE_WEBHOOK_SECRET": done["environment"]["STRIPE_WEBHOOK_SECRET"]}
    new = tallystick(tmp_path, "stripe", "setup", "--new-secret", "--json", **key, **prices, **secret)
    assert json.loads(new.stdout)["environment"]["STRIPE_WEBHOOK_SECRET"] not in ("", *secret.values())


def test_what_was_made_before_a_step_failed_is_printed_with_the_reason(
    tmp_path: Path, key: dict[str, str], server: SandboxServer
) -> None:
    server.sandbox.outages.fail("forbidden", method="POST", path="/v1/webhook_endpoints", times=None)
    answer = tallystick(tmp_path, "stripe", "setup", **key)
    assert answer.returncode == 1
    for name in PRICES:
        assert f"{name}=price_" in answer.stdout
    assert "rak_webhook_write" in answer.stderr
    assert "run the same command again" in " ".join(answer.stderr.split())


def test_without_a_key_it_says_where_to_get_one(tmp_path: Path) -> None:
    answer = tallystick(tmp_path, "stripe", "setup")
    assert answer.returncode == 2
    assert "STRIPE_SECRET_KEY: is not set." in answer.stderr
    assert "Developers > API keys" in answer.stderr


def test_the_doctor_says_what_is_wrong_until_all_of_it_is_mended(tmp_path: Path, key: dict[str, str]) -> None:
    ill = tallystick(tmp_path, "stripe", "doctor", **key)
    assert (ill.returncode, ill.stderr) == (1, "")
    for words in ("STRIPE_PLUS_PRICE_ID is not set", "tallystick stripe setup", "tallystick migrate", "wrong"):
        assert words in ill.stdout
    lines = json.loads(tallystick(tmp_path, "stripe", "setup", "--json", **key).stdout)["environment"]
    assert tallystick(tmp_path, "migrate", **key, **lines).returncode == 0
    well = tallystick(tmp_path, "stripe", "doctor", "--json", **key, **lines)
    found = json.loads(well.stdout)
    assert (well.returncode, found["ok"]) == (0, True)
    assert {check["state"] for check in found["checks"]} == {"ok"}
