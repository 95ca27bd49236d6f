"""What every route has in common on the wire: the headers, and what is refused before anything is done.

None of it is written down for a single route: routes say only which of the SDK's types their parameters have.
"""

import json
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest

from stripe_sandbox import API_VERSION, Sandbox, server
from stripe_sandbox.api import V1, V2, Namespace
from stripe_sandbox.operations import Operation
from tests.sandbox.conformance import paths

ROUTES = [
    pytest.param(namespace, operation, id=f"{operation.method} {namespace.prefix}{operation.path}")
    for namespace in (V1, V2)
    for family in namespace.families
    for operation in family.OPERATIONS
]
every_route = pytest.mark.parametrize(("namespace", "operation"), ROUTES)


@pytest.fixture
async def http() -> AsyncIterator[httpx2.AsyncClient]:
    transport = httpx2.ASGITransport(app=server.create_app(Sandbox()))
    headers = {"Authorization": "Bearer sk_test_1"}
    async with httpx2.AsyncClient(transport=transport, base_url="http://stripe.test", headers=headers) as http:
        yield http


async def ask(http: httpx2.AsyncClient, namespace: Namespace, operation: Operation, **given: str) -> Any:
    """Call a route on ids that are not there, with an idempotency key."""
    path = namespace.prefix + "/".join(
        "no_such" if part.startswith("{") else part for part in operation.path.split("/")
    )
    options: dict[str, Any] = {"headers": {"Idempotency-Key": "k"}}
    if operation.method != "POST":
        options["params"] = given
    elif namespace is V2:
        options["content"] = json.dumps(given)
    else:
        options["data"] = given
    return await http.request(operation.method, path, **options)


def check_headers(answer: Any, namespace: Namespace, operation: Operation, *, saved: bool = False) -> None:
    """A key is echoed where one counts; only what was carried out says that a retry is of no use."""
    counts = operation.method in namespace.keyed
    headers = answer.headers
    assert headers["request-id"].startswith("req_")
    assert headers["stripe-version"] == API_VERSION
    assert headers.get("idempotency-key") == ("k" if counts else None)
    assert headers.get("original-request") == (headers["request-id"] if counts else None)
    assert headers.get("stripe-should-retry") == ("false" if counts and saved else None)


@every_route
async def test_a_parameter_that_is_not_there_is_refused(
    http: httpx2.AsyncClient, namespace: Namespace, operation: Operation
) -> None:
    answer = await ask(http, namespace, operation, nope="1")
    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error["param"]) == (400, "parameter_unknown", "nope")
    assert error["request_log_url"].endswith(answer.headers["request-id"])
    check_headers(answer, namespace, operation)


@every_route
async def test_an_empty_request_is_refused_for_what_it_lacks_or_names(
    http: httpx2.AsyncClient, namespace: Namespace, operation: Operation
) -> None:
    answer = await ask(http, namespace, operation)
    needed = operation.shape.__required_keys__
    if needed:
        error = answer.json()["error"]
        assert (answer.status_code, error["code"]) == (400, "parameter_missing")
        assert error["param"] in needed
        check_headers(answer, namespace, operation)
    elif "{" in operation.path:
        error = answer.json()["error"]
        assert (answer.status_code, error["code"]) == (404, "not_found" if namespace is V2 else "resource_missing")
        check_headers(answer, namespace, operation)
    else:
        assert answer.status_code in (200, 400)
        check_headers(answer, namespace, operation, saved=answer.status_code == 200)


@every_route
def test_a_route_is_one_of_stripes(namespace: Namespace, operation: Operation) -> None:
    """The SDK calls it or the description has it, and the SDK names the type of its parameters."""
    assert operation.shape.__module__.startswith("stripe.params.")
    assert (operation.method, _anonymous(f"{namespace.prefix}{operation.path}")) in paths()


def _anonymous(path: str) -> str:
    return "/".join("{}" if part.startswith("{") else part for part in path.split("/"))


async def test_without_a_key_no_header_speaks_of_one(http: httpx2.AsyncClient) -> None:
    answer = await http.post("/v1/customers", data={"name": "A"})
    assert answer.status_code == 200
    assert not {"idempotency-key", "original-request", "stripe-should-retry"} & set(answer.headers)


async def test_who_is_not_let_in_is_told_no_more_than_that(http: httpx2.AsyncClient) -> None:
    answer = await http.get("/v1/customers", headers={"Authorization": "Bearer sk_live_1"})
    assert set(answer.json()["error"]) == {"message", "type"}
