"""Addresses with ids of other people's making in them, which may hold a slash. Knows nothing of credits."""

from urllib.parse import unquote

from starlette.routing import Match
from starlette.types import Scope

from tallystick.web.problems import ProblemRoute

# In no address that is answered: GuardedRoute refuses it.
_SLASH_OF_AN_ID = "\0"


class ExactRoute(ProblemRoute):
    """A route that finds the segments of an address before it decodes them, so that `%2F` belongs to an id.

    What the framework matches has been decoded as a whole, and a slash of an id is like any other there.
    """

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        raw = scope.get("raw_path") or b""
        if b"%" not in raw:
            return super().matches(scope)
        match, found = super().matches({**scope, "path": _decoded(raw), "path_params": {}})
        if match is not Match.NONE:
            ids = {name: value.replace(_SLASH_OF_AN_ID, "/") for name, value in found["path_params"].items()}
            found["path_params"] = {**scope.get("path_params", {}), **ids}
        return match, found


def _decoded(raw: bytes) -> str:
    segments = raw.decode("latin-1").split("/")
    return "/".join(unquote(segment).replace("/", _SLASH_OF_AN_ID) for segment in segments)
