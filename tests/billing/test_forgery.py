"""S26: headers made to slip past the door."""

import hashlib
import hmac
import json
from datetime import UTC, datetime

import pytest

from stripe_sandbox.delivery import signature
from tallystick.billing.errors import SignatureInvalid, SignatureStale, WebhookRefused
from tallystick.billing.stripe_api import BillingSettings
from tallystick.billing.webhooks import verify
from tests.conftest import FrozenClock

SECRET = "whsec_test"
BODY = json.dumps(
    {"id": "evt_1", "object": "event", "type": "x", "livemode": False, "data": {"object": {"id": "x"}}}
).encode()
# Standing still: the names of tests that carry a signature must be the same in every process that runs them.
CLOCK = FrozenClock(datetime(2026, 1, 31, 9, 30, tzinfo=UTC))
NOW = int(CLOCK.now.timestamp())
OLD = NOW - 3600


def check(header: str) -> str:
    return verify(BODY, header, BillingSettings("sk_test_1", (SECRET,), "http://shop.test"), CLOCK).id


@pytest.mark.parametrize("added", [" t=9999999999,", "v0=x, t=9999999999,", "T=9999999999,", "t =9999999999,"])
def test_s26_a_second_timestamp_does_not_make_an_old_signature_fresh(added: str) -> None:
    with pytest.raises(SignatureStale):
        check(added + signature(BODY, SECRET, OLD))


def test_s26_the_timestamp_that_is_signed_is_the_one_that_counts() -> None:
    stamp, signed = signature(BODY, SECRET, OLD).split(",")
    with pytest.raises(SignatureStale):
        check(f"t=+{stamp.removeprefix('t=')}, t=9999999999,{signed}")
    with pytest.raises(SignatureInvalid):
        check(f"t=9999999999,{stamp},{signed}")


@pytest.mark.parametrize(
    "header",
    [
        "t=1,v1=é",
        "t=,v1=00",
        "t",
        "v1=00",
        ",,,",
        "t=" + "9" * 5000 + ",v1=00",
        f"t={NOW},v1=",
        f"t={NOW},v0={hmac.new(SECRET.encode(), BODY, hashlib.sha256).hexdigest()}",
        "\x00",
    ],
)
def test_s26_a_header_that_is_not_a_signature_is_refused_not_stumbled_over(header: str) -> None:
    with pytest.raises(WebhookRefused) as refused:
        check(header)
    assert refused.value.code == "signature_invalid"


def test_s26_one_fitting_signature_among_several_is_enough() -> None:
    stamp, signed = signature(BODY, SECRET, NOW).split(",")
    assert check(f"{stamp},v1={'0' * 64},{signed}") == "evt_1"
