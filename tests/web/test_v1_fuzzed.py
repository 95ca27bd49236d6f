"""/v1 under random requests, well and badly formed: every answer is one that its OpenAPI document declares.

Each operation gets ten of either sort. TALLYSTICK_FUZZ_TIMES multiplies that for a long run, TALLYSTICK_FUZZ_SEED
makes it another one.
"""

import asyncio
import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tallystick import Plan
from tallystick.api_keys import Scope
from tests.serving import serving
from tests.web.backend import open_backend
from tests.web.declared import DOCUMENT, OPERATIONS, PROBLEM_JSON, examples

EXAMPLES = 10 * int(os.environ.get("TALLYSTICK_FUZZ_TIMES", "1"))
SEED = int(os.environ.get("TALLYSTICK_FUZZ_SEED", "27"))
SCHEMA = schemathesis.openapi.from_dict(DOCUMENT)


@dataclass
class Server:
    """A running service in a thread of its own, with an account `acme` that has much to spend."""

    url: str = ""
    secret: str = ""
    ready: threading.Event = field(default_factory=threading.Event)

    async def run(self, folder: Path) -> None:
        self.loop, self.stopping = asyncio.get_running_loop(), asyncio.Event()
        async with (
            open_backend(folder, [Plan("free", 10**9)]) as backend,
            serving(backend.app) as self.url,
        ):
            await backend.credits.open_account("acme")
            _, self.secret = await backend.credits.api_keys.create("test", frozenset([Scope.ADMIN]))
            self.ready.set()
            await self.stopping.wait()

    def stop(self) -> None:
        self.loop.call_soon_threadsafe(self.stopping.set)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    running = Server()
    thread = threading.Thread(target=lambda: asyncio.run(running.run(tmp_path_factory.mktemp("fuzzed"))))
    thread.start()
    assert running.ready.wait(20)
    yield running
    running.stop()
    thread.join(20)


def declared_code(_: Any, response: Any, case: Any) -> None:
    """The code of a problem is one that the operation declares."""
    if response.status_code >= 400:
        name = case.operation.definition.raw["operationId"]
        declared = OPERATIONS[name][2]["responses"][str(response.status_code)]["content"][PROBLEM_JSON]
        assert response.json()["code"] in examples(declared), response.json()


ANSWERS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    declared_code,
]


def refused(context: Any, response: Any, case: Any) -> bool | None:
    """What is badly formed is refused: of a batch, also one spend in its own result."""
    results = response.json().get("results", [])
    return any(result["status"] == 422 for result in results) or negative_data_rejection(context, response, case)


HOW = settings(
    max_examples=EXAMPLES,
    phases=[Phase.generate, Phase.shrink],
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)


@pytest.mark.parametrize("name", OPERATIONS)
def test_every_answer_to_a_random_request_is_declared(server: Server, name: str) -> None:
    operation = SCHEMA.find_operation_by_id(name)
    path = OPERATIONS[name][1]
    signed = {"Authorization": f"Bearer {server.secret}"}
    numbers = count()
    met: set[int] = set()

    def send(case: Any, checks: list[Any]) -> None:
        met.add(case.call_and_validate(server.url, session, checks=checks).status_code)

    def make(what: str, key: str) -> int:
        """The number of a new spend or hold."""
        url = f"{server.url}/v1/accounts/acme/{what}s"
        made = session.post(url, json={"amount": 1}, headers=signed | {"Idempotency-Key": key}).json()
        return int(made.get("seq") or made["id"])

    def aim(case: Any, number: int) -> None:
        """At what is there. Random names hardly ever are, and random keys repeat."""
        case.headers["Idempotency-Key"] = f"{name}-{number}"
        if "/accounts/{id}" in path:
            case.path_parameters["id"] = "acme"
        for what, parameter in (("spend", "seq"), ("hold", "hold")):
            if f"{{{parameter}}}" in path:
                case.path_parameters[parameter] = make(what, f"for-{name}-{number}")

    @seed(SEED)
    @HOW
    @given(operation.as_strategy(generation_mode=GenerationMode.POSITIVE, headers=signed))
    def well_formed(case: Any) -> None:
        number = next(numbers)
        if number % 5:
            aim(case, number)
        send(case, ANSWERS)

    @seed(SEED)
    @HOW
    @given(operation.as_strategy(generation_mode=GenerationMode.NEGATIVE, headers=signed))
    def badly_formed(case: Any) -> None:
        send(case, [*ANSWERS, refused])

    with requests.Session() as session:
        well_formed()
        assert met & {200, 201} or "purchases" in path
        badly_formed()
        assert any(status >= 400 for status in met)
