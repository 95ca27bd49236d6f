"""Errors as Stripe words them: an HTTP status, a type, a message, and where there is one a code and a param."""

from typing import Any


class StripeError(Exception):
    """A refusal that is sent to the caller in Stripe's error shape."""

    def __init__(
        self,
        message: str,
        *,
        status: int = 400,
        type: str = "invalid_request_error",
        code: str | None = None,
        param: str | None = None,
        saved: bool = False,
        **extra: Any,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.saved = saved
        """Whether the request was executed, so that its idempotency key keeps this answer."""
        error: dict[str, Any] = {"message": message, "type": type, **extra}
        if code is not None:
            error |= {"code": code, "doc_url": doc_url(code)}
        if param is not None:
            error["param"] = param
        self.body = {"error": error}

    def logged(self, request_id: str) -> dict[str, Any]:
        """The body as the answer to that request. Who was not let in is not told where it was logged."""
        if self.status == 401:
            return self.body
        log = f"https://dashboard.stripe.com/test/workbench/logs?object={request_id}"
        return {"error": {**self.body["error"], "request_log_url": log}}


def doc_url(code: str) -> str:
    """Where Stripe explains an error code."""
    return f"https://stripe.com/docs/error-codes/{code.replace('_', '-')}"


def missing(kind: str, id: str, *, param: str = "id", status: int = 404) -> StripeError:
    """No such object. A parameter that names one answers 400, a path 404."""
    return StripeError(f"No such {kind}: '{id}'", status=status, code="resource_missing", param=param)
