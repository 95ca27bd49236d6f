"""Event destinations and thin events: the part of API v2 that has to do with webhooks."""

from urllib.parse import urlsplit

from stripe.params.v2 import core as params

from stripe_sandbox import thin, v2
from stripe_sandbox.errors import StripeError
from stripe_sandbox.ids import new_id, webhook_secret
from stripe_sandbox.operations import Operation
from stripe_sandbox.receivers import Receiver
from stripe_sandbox.sandbox import NO_REQUEST, Sandbox
from stripe_sandbox.store import Object

_KIND = "v2.core.event_destination"
_PATH = "/core/event_destinations"
_EVENTS = "/core/events"


def create(sandbox: Sandbox, _: str, given: Object) -> Object:
    """A new destination: the only answer that shows its secret, when it is asked to."""
    if given["type"] != "webhook_endpoint":
        raise _invalid("The sandbox delivers to webhook endpoints only.", "type")
    if "webhook_endpoint" not in given:
        raise _invalid("webhook_endpoint is required for this type.", "webhook_endpoint")
    thin_ones = given["event_payload"] == "thin"
    _check_events(given["enabled_events"], thin_ones=thin_ones)
    if thin_ones and "snapshot_api_version" in given:
        raise _invalid("Thin events are not rendered in a version.", "snapshot_api_version")
    now = thin.timestamp(sandbox.now())
    made = {
        "id": new_id("ed_test"),
        "object": _KIND,
        "created": now,
        "description": given.get("description", ""),
        "enabled_events": given["enabled_events"],
        "event_payload": given["event_payload"],
        "events_from": given.get("events_from", ["@self"]),
        "livemode": False,
        "metadata": given.get("metadata", {}),
        "name": given["name"],
        "snapshot_api_version": given.get("snapshot_api_version"),
        "status": "enabled",
        "status_details": None,
        "type": "webhook_endpoint",
        "updated": now,
        "webhook_endpoint": {"signing_secret": None, "url": None},
        "_url": _checked_url(given["webhook_endpoint"]["url"]),
        "_secret": webhook_secret(),
    }
    sandbox.store.put(made)
    return _included(made, given)


def retrieve(sandbox: Sandbox, id: str, given: Object) -> Object:
    """One destination."""
    return _included(v2.get(sandbox, id, _KIND), given)


def list_all(sandbox: Sandbox, _: str, given: Object) -> Object:
    """One page of all destinations, newest first."""
    page = v2.page(sandbox.store.newest_first(_KIND), given, f"/v2{_PATH}")
    return {**page, "data": [_included(destination, given) for destination in page["data"]]}


def update(sandbox: Sandbox, id: str, given: Object) -> Object:
    """Change what may be changed: name, description, events, metadata, address."""
    found = v2.get(sandbox, id, _KIND)
    if "enabled_events" in given:
        _check_events(given["enabled_events"], thin_ones=found["event_payload"] == "thin")
    found |= {name: given[name] for name in ("name", "description", "enabled_events") if name in given}
    if "metadata" in given:
        merged = {**found["metadata"], **given["metadata"]}
        found["metadata"] = {key: value for key, value in merged.items() if value != ""}
    if "webhook_endpoint" in given:
        found["_url"] = _checked_url(given["webhook_endpoint"]["url"])
    return _included(_kept(sandbox, found), given)


def disable(sandbox: Sandbox, id: str, given: Object) -> Object:
    """Send nothing there any more."""
    found = v2.get(sandbox, id, _KIND)
    found |= {"status": "disabled", "status_details": {"disabled": {"reason": "user"}}}
    return _included(_kept(sandbox, found), given)


def enable(sandbox: Sandbox, id: str, given: Object) -> Object:
    """Send there again."""
    found = v2.get(sandbox, id, _KIND)
    found |= {"status": "enabled", "status_details": None}
    return _included(_kept(sandbox, found), given)


def delete(sandbox: Sandbox, id: str, _: Object) -> Object:
    """Take a destination away."""
    found = v2.get(sandbox, id, _KIND)
    sandbox.store.delete(found["id"])
    return {"id": found["id"], "object": _KIND}


def ping(sandbox: Sandbox, id: str, _: Object) -> Object:
    """Send a ping there. Returns it."""
    found = v2.get(sandbox, id, _KIND)
    related = {"id": id, "type": _KIND, "url": f"/v2{_PATH}/{id}"}
    event = thin.new(new_id("evt_test"), sandbox.now(), f"{_KIND}.ping", related, NO_REQUEST)
    sandbox.store.put(event)
    sandbox.deliveries.send(event, Receiver.of(found))
    return event


def retrieve_event(sandbox: Sandbox, id: str, _: Object) -> Object:
    """One thin event, complete."""
    return v2.get(sandbox, id, "v2.core.event")


def list_events(sandbox: Sandbox, _: str, given: Object) -> Object:
    """One page of thin events, newest first."""

    def asked_for(event: Object) -> bool:
        # Written alike, instants compare as text does.
        compare = {"gt": str.__gt__, "gte": str.__ge__, "lt": str.__lt__, "lte": str.__le__}
        return (
            given.get("object_id") in (None, event["related_object"]["id"])
            and ("types" not in given or event["type"] in given["types"])
            and all(compare[op](event["created"], bound) for op, bound in given.get("created", {}).items())
        )

    return v2.page(sandbox.store.newest_first("v2.core.event", asked_for), given, f"/v2{_EVENTS}")


def _kept(sandbox: Sandbox, destination: Object) -> Object:
    destination["updated"] = thin.timestamp(sandbox.now())
    sandbox.store.put(destination)
    return destination


def _included(destination: Object, given: Object) -> Object:
    """A destination with those of its redacted fields that were asked for."""
    wanted = given.get("include", [])
    return {
        **destination,
        "webhook_endpoint": {
            "signing_secret": destination["_secret"] if "webhook_endpoint.signing_secret" in wanted else None,
            "url": destination["_url"] if "webhook_endpoint.url" in wanted else None,
        },
    }


def _check_events(types: list[str], *, thin_ones: bool) -> None:
    for type in types:
        is_thin = type.startswith(("v1.", "v2."))
        if type != "*" and (is_thin is not thin_ones or (is_thin and not thin.has_class(type))):
            raise _invalid(f"There is no {'thin' if thin_ones else 'snapshot'} event '{type}'.", "enabled_events")


def _checked_url(url: str) -> str:
    if urlsplit(url).scheme not in ("http", "https"):
        raise _invalid("The URL must begin with http:// or https://.", "webhook_endpoint.url")
    return url


def _invalid(message: str, param: str) -> StripeError:
    return StripeError(message, code="invalid_fields", param=param)


OPERATIONS = [
    Operation("POST", _PATH, params.EventDestinationCreateParams, create),
    Operation("GET", _PATH, params.EventDestinationListParams, list_all),
    Operation("GET", f"{_PATH}/{{id}}", params.EventDestinationRetrieveParams, retrieve),
    Operation("POST", f"{_PATH}/{{id}}", params.EventDestinationUpdateParams, update),
    Operation("DELETE", f"{_PATH}/{{id}}", params.EventDestinationDeleteParams, delete),
    Operation("POST", f"{_PATH}/{{id}}/disable", params.EventDestinationDisableParams, disable),
    Operation("POST", f"{_PATH}/{{id}}/enable", params.EventDestinationEnableParams, enable),
    Operation("POST", f"{_PATH}/{{id}}/ping", params.EventDestinationPingParams, ping),
    Operation("GET", _EVENTS, params.EventListParams, list_events),
    Operation("GET", f"{_EVENTS}/{{id}}", params.EventRetrieveParams, retrieve_event),
]
