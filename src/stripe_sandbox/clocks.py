"""Test clocks: a time of their own for the customers that are made in it, which stands still until it is advanced."""

from collections.abc import Iterator
from contextlib import contextmanager

from stripe import params

from stripe_sandbox import customers, operations
from stripe_sandbox.errors import StripeError
from stripe_sandbox.ids import new_id
from stripe_sandbox.sandbox import Sandbox
from stripe_sandbox.store import Object

LIFETIME_SECONDS = 30 * 86_400
_TYPE = "test_helpers.test_clock"


def create(sandbox: Sandbox, given: Object) -> Object:
    """A new clock, ready at its time."""
    now = sandbox.now()
    made: Object = {
        "id": new_id("clock"),
        "object": _TYPE,
        "created": now,
        "deletes_after": now + LIFETIME_SECONDS,
        "frozen_time": given["frozen_time"],
        "livemode": False,
        "name": given.get("name"),
        "status": "ready",
        "status_details": {},
    }
    sandbox.store.put(made)
    sandbox.emit(f"{_TYPE}.created", made)
    return made


def advance(sandbox: Sandbox, id: str, given: Object) -> Object:
    """Send a clock forward: it is `advancing` until all that is due by then has happened.

    Raises StripeError when it is under way already, or would go back.
    """
    clock = sandbox.get(id, _TYPE)
    target = given["frozen_time"]
    if clock["status"] != "ready":
        raise StripeError("The test clock is advancing already. Wait until its status is `ready`.")
    if target <= clock["frozen_time"]:
        raise StripeError(
            "The test clock can only be advanced to a time after its current frozen time.", param="frozen_time"
        )
    clock |= {"status": "advancing", "status_details": {"advancing": {"target_frozen_time": target}}}
    sandbox.store.put(clock)
    sandbox.emit(f"{_TYPE}.advancing", clock)
    sandbox.on_advance()
    return clock


def delete(sandbox: Sandbox, id: str, _: Object) -> Object:
    """Take a clock away with everything that lives in it."""
    clock = sandbox.get(id, _TYPE)
    for customer in sandbox.store.newest_first("customer", lambda c: bool(c["test_clock"] == id)):
        customers.delete(sandbox, customer["id"])
    answer = operations.deleted(sandbox, clock)
    sandbox.emit(f"{_TYPE}.deleted", clock)
    return answer


def all_clocks(sandbox: Sandbox) -> list[tuple[str, int]]:
    """Every clock, and the time up to which things happen in it: where it is, or where it is going."""
    return [(clock["id"], _target(clock)) for clock in sandbox.store.newest_first(_TYPE)]


def arrive(sandbox: Sandbox, id: str) -> None:
    """All has happened: a clock that was under way is ready at its new time."""
    clock = sandbox.get(id, _TYPE)
    if clock["status"] != "advancing":
        return
    clock |= {"frozen_time": _target(clock), "status": "ready", "status_details": {}}
    sandbox.store.put(clock)
    with sandbox.at(clock["frozen_time"], id):
        sandbox.emit(f"{_TYPE}.ready", clock)


def _target(clock: Object) -> int:
    if clock["status"] == "advancing":
        return int(clock["status_details"]["advancing"]["target_frozen_time"])
    return int(clock["frozen_time"])


@contextmanager
def in_time_of(sandbox: Sandbox, *ids: object) -> Iterator[None]:
    """What is done inside happens in the time of the first test clock that one of these objects lives in."""
    clock = next(filter(None, (_clock_of(sandbox, id) for id in ids)), None)
    if clock is None:
        yield
    else:
        with sandbox.at(clock["frozen_time"], clock["id"]):
            yield


def _clock_of(sandbox: Sandbox, id: object) -> Object | None:
    found = sandbox.store.get(id) if isinstance(id, str) and id else None
    if found is None or found["object"] == _TYPE:
        return found
    clock = found.get("test_clock")
    if clock is None and isinstance(found.get("customer"), str):
        customer = sandbox.store.get(found["customer"], "customer")
        clock = None if customer is None else customer["test_clock"]
    return sandbox.store.get(clock, _TYPE) if clock else None


_PATH = "/test_helpers/test_clocks"
OPERATIONS = [
    operations.create(_PATH, params.test_helpers.TestClockCreateParams, create),
    operations.list_of(_TYPE, _PATH, params.test_helpers.TestClockListParams),
    operations.retrieve(_TYPE, _PATH, params.test_helpers.TestClockRetrieveParams),
    operations.Operation("POST", f"{_PATH}/{{id}}/advance", params.test_helpers.TestClockAdvanceParams, advance),
    operations.Operation("DELETE", f"{_PATH}/{{id}}", params.test_helpers.TestClockDeleteParams, delete),
]
