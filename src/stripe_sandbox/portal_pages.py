"""The customer portal's pages: what a customer sees, and the forms they send."""

from collections.abc import Callable
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from stripe_sandbox import agenda, clocks, payment_methods, portal_views
from stripe_sandbox.billing import portal
from stripe_sandbox.billing.portal import Change, Over, Visit
from stripe_sandbox.cards import BadField
from stripe_sandbox.errors import StripeError
from stripe_sandbox.html import fields, page, see
from stripe_sandbox.sandbox import Sandbox
from stripe_sandbox.store import Object

PATH = "/p/session/{token}"


@dataclass(frozen=True, slots=True)
class Asked:
    """A request of a customer: the id in its path (or ""), and what was typed, in a form or the address."""

    visit: Visit
    id: str
    typed: dict[str, str]


Show = Callable[[Asked, str], Response]
"""A page, with what was wrong with what was typed before."""

Act = Callable[[Asked], Response]
"""What a form does."""


def routes(sandbox: Sandbox) -> list[BaseRoute]:
    """The pages of the portal."""
    pages = PortalPages(sandbox)
    forms: dict[str, tuple[Show, Act]] = {
        "/subscriptions/{id}/cancel": (pages.show_cancel, pages.cancel),
        "/subscriptions/{id}/update": (pages.show_update, pages.choose),
        "/subscriptions/{id}/confirm": (pages.show_confirm, pages.change),
        "/subscriptions/{id}/renew": (pages.show_home, pages.renew),
        "/subscriptions/{id}/keep": (pages.show_home, pages.keep_plan),
        "/cards/new": (pages.show_new_card, pages.add_card),
        "/cards/{id}/use": (pages.show_home, pages.use_card),
        "/cards/{id}/remove": (pages.show_home, pages.remove_card),
        "/customer": (pages.show_customer, pages.update_customer),
    }
    return [
        Route(PATH, pages.getting(pages.start), methods=["GET"]),
        *(Route(f"{PATH}{path}", pages.getting(show), methods=["GET"]) for path, (show, _) in forms.items()),
        *(Route(f"{PATH}{path}", pages.posting(show, act), methods=["POST"]) for path, (show, act) in forms.items()),
    ]


class PortalPages:
    """The handlers, around one sandbox."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox

    def getting(self, show: Show) -> Callable[[Request], object]:
        """The handler of a page."""

        async def handle(request: Request) -> Response:
            agenda.run_due(self._sandbox)
            return self._answer(request, dict(request.query_params), lambda asked: show(asked, ""))

        return handle

    def posting(self, show: Show, act: Act) -> Callable[[Request], object]:
        """The handler of a form, whose page is shown again with what was wrong."""

        def answer(asked: Asked) -> Response:
            try:
                with self._sandbox.store.all_or_nothing():
                    return act(asked)
            except (StripeError, BadField) as wrong:
                return show(asked, str(wrong))

        async def handle(request: Request) -> Response:
            return self._answer(request, await fields(request), answer)

        return handle

    def start(self, asked: Asked, message: str) -> Response:
        """GET: where the visit begins: the page of its flow, or the first one. The bank sends customers back here."""
        visit, sent_back = asked.visit, asked.typed.get("redirect_status")
        if sent_back == "failed":
            portal.give_up_change(self._sandbox, visit)
            return self.show_home(asked, "Your bank did not confirm this. Nothing was changed.")
        if sent_back == "succeeded":
            saved = self._sandbox.store.get(asked.typed.get("setup_intent", ""), "setup_intent")
            if saved is not None:
                portal.finish_card(self._sandbox, visit, saved)
            return self._done(visit)
        path = _flow_path(visit)
        return self.show_home(asked, message) if path is None else see(f"{_base(visit)}{path}")

    def show_home(self, asked: Asked, message: str) -> Response:
        """GET: the first page."""
        return self._page(asked.visit, "portal.html", message, **portal_views.home(self._sandbox, asked.visit))

    def show_cancel(self, asked: Asked, message: str) -> Response:
        """GET: do you really want to cancel?"""
        subscription = self._subscription(asked)
        return self._page(
            asked.visit,
            "portal_cancel.html",
            message,
            subscription=portal_views.subscription(self._sandbox, asked.visit, subscription),
            ends=portal_views.day(max(item["current_period_end"] for item in subscription["items"]["data"])),
            at_once=asked.visit.require("subscription_cancel")["mode"] == "immediately",
            reasons=portal_views.reasons(asked.visit),
            typed=asked.typed,
        )

    def cancel(self, asked: Asked) -> Response:
        """POST: cancel."""
        feedback, comment = asked.typed.get("feedback"), asked.typed.get("comment", "").strip() or None
        portal.cancel(self._sandbox, asked.visit, asked.id, feedback, comment)
        return self._done(asked.visit)

    def renew(self, asked: Asked) -> Response:
        """POST: do not cancel."""
        portal.renew(self._sandbox, asked.visit, asked.id)
        return see(_base(asked.visit))

    def keep_plan(self, asked: Asked) -> Response:
        """POST: do not change the plan."""
        portal.keep_plan(self._sandbox, asked.visit, asked.id)
        return see(_base(asked.visit))

    def show_update(self, asked: Asked, message: str) -> Response:
        """GET: which plan?"""
        subscription = self._subscription(asked)
        allowed = asked.visit.require("subscription_update")["default_allowed_updates"]
        return self._page(
            asked.visit,
            "portal_update.html",
            message,
            subscription=portal_views.subscription(self._sandbox, asked.visit, subscription),
            offers=portal_views.offers(self._sandbox, asked.visit, subscription),
            takes_code="promotion_code" in allowed,
            typed=asked.typed,
        )

    def choose(self, asked: Asked) -> Response:
        """POST: this plan; what it means is shown next."""
        change = portal.change_of(self._sandbox, asked.visit, self._subscription(asked), asked.typed)
        return self._confirmation(asked, change)

    def show_confirm(self, asked: Asked, message: str) -> Response:
        """GET: what a change means."""
        try:
            return self._confirmation(asked, self._change(asked), message)
        except StripeError as wrong:
            return self.show_home(asked, message or str(wrong))

    def change(self, asked: Asked) -> Response:
        """POST: change the plan."""
        subscription = self._subscription(asked)
        change = self._change(asked)
        back = f"{self._sandbox.url}{_base(asked.visit)}"
        bank = portal.change(self._sandbox, asked.visit, subscription, change, back)
        return self._done(asked.visit) if bank is None else see(bank)

    def show_new_card(self, asked: Asked, message: str) -> Response:
        """GET: a card to type."""
        asked.visit.require("payment_method_update")
        return self._page(asked.visit, "portal_card.html", message, typed=asked.typed, status=402 if message else 200)

    def add_card(self, asked: Asked) -> Response:
        """POST: save a card, and pay everything with it."""
        number, expiry, cvc = (asked.typed.get(name, "") for name in ("card_number", "exp", "cvc"))
        method = payment_methods.from_form(self._sandbox, number, expiry, cvc)
        back = f"{self._sandbox.url}{_base(asked.visit)}"
        intent = portal.add_card(self._sandbox, asked.visit, method, asked.typed.get("name", "").strip(), back)
        if intent["status"] == "requires_action":
            return see(intent["next_action"]["redirect_to_url"]["url"])
        if intent["status"] != "succeeded":
            return self.show_new_card(asked, intent["last_setup_error"]["message"])
        return self._done(asked.visit)

    def use_card(self, asked: Asked) -> Response:
        """POST: pay everything with this card."""
        portal.use_card(self._sandbox, asked.visit, asked.id)
        return see(_base(asked.visit))

    def remove_card(self, asked: Asked) -> Response:
        """POST: take a card away."""
        portal.remove_card(self._sandbox, asked.visit, asked.id)
        return see(_base(asked.visit))

    def show_customer(self, asked: Asked, message: str) -> Response:
        """GET: the customer's own data."""
        allowed = asked.visit.require("customer_update")["allowed_updates"]
        customer = asked.visit.customer
        there = {**(customer["address"] or {}), **{n: customer[n] for n in ("email", "name", "phone")}, **asked.typed}
        known = {name: value or "" for name, value in there.items()}
        return self._page(asked.visit, "portal_customer.html", message, allowed=allowed, typed=known)

    def update_customer(self, asked: Asked) -> Response:
        """POST: change them."""
        portal.update_customer(self._sandbox, asked.visit, asked.typed)
        return self._done(asked.visit)

    def _answer(self, request: Request, typed: dict[str, str], answer: Act) -> Response:
        """Answer in the time of the customer. A visit that is over, or a thing that is not there, is told."""
        with self._sandbox.store.transaction():
            try:
                visit = portal.enter(self._sandbox, request.path_params["token"])
            except Over as over:
                return _over(over.return_url)
            if visit is None:
                return _over(None, status=404)
            asked = Asked(visit, request.path_params.get("id", ""), typed)
            with clocks.in_time_of(self._sandbox, visit.customer["id"]):
                try:
                    return answer(asked)
                except StripeError as wrong:
                    return self.show_home(asked, str(wrong))

    def _page(self, visit: Visit, template: str, message: str, status: int = 0, **values: object) -> Response:
        profile = visit.configuration["business_profile"]
        return page(
            template,
            status=status or (400 if message else 200),
            base=_base(visit),
            return_url=visit.session["return_url"],
            headline=profile["headline"],
            terms=profile["terms_of_service_url"],
            privacy=profile["privacy_policy_url"],
            message=message,
            **values,
        )

    def _subscription(self, asked: Asked) -> Object:
        return portal.subscription_of(self._sandbox, asked.visit, asked.id)

    def _change(self, asked: Asked) -> Change:
        """The change that is to be confirmed: that of the flow, else what was chosen."""
        flow = (_flow(asked.visit) or {}).get("subscription_update_confirm")
        if flow is not None and flow["subscription"] == asked.id:
            wanted = flow["items"][0]
            given = [{name: id for name, id in entry.items() if id} for entry in flow["discounts"] or []]
            return Change(wanted["price"], wanted["quantity"], tuple(given))
        return portal.change_of(self._sandbox, asked.visit, self._subscription(asked), asked.typed)

    def _confirmation(self, asked: Asked, change: Change, message: str = "") -> Response:
        visit = asked.visit
        subscription = self._subscription(asked)
        return self._page(
            visit,
            "portal_confirm.html",
            message,
            action=f"{_base(visit)}/subscriptions/{subscription['id']}/confirm",
            subscription=portal_views.subscription(self._sandbox, visit, subscription),
            change=portal_views.confirmation(self._sandbox, visit, subscription, change),
            price=change.price,
            quantity=change.quantity,
            promotion_code=asked.typed.get("promotion_code", ""),
            status=402 if message else 200,
        )

    def _done(self, visit: Visit) -> Response:
        """What follows a thing that was done: what the flow says, else the first page."""
        flow = _flow(visit)
        if flow is None:
            return see(_base(visit))
        self._sandbox.store.put({**visit.session, "_done": True})
        after = flow["after_completion"]
        if after["type"] == "redirect":
            return see(after["redirect"]["return_url"])
        if after["type"] == "hosted_confirmation":
            return page(
                "message.html",
                heading="Thank you",
                text=after["hosted_confirmation"]["custom_message"] or "Your change was made.",
                link=visit.session["return_url"],
                link_text="Return to the shop",
            )
        return see(_base(visit))


def _base(visit: Visit) -> str:
    return f"/p/session/{visit.session['url'].rsplit('/', 1)[1]}"


def _flow(visit: Visit) -> Object | None:
    """The flow of a visit that is still to be gone through."""
    flow: Object | None = visit.session["flow"]
    return None if visit.session.get("_done") else flow


def _flow_path(visit: Visit) -> str | None:
    flow = _flow(visit)
    if flow is None:
        return None
    fixed = {"payment_method_update": "/cards/new", "customer_update": "/customer"}
    kind = flow["type"]
    if kind in fixed:
        return fixed[kind]
    ends = {
        "subscription_cancel": "cancel",
        "subscription_update": "update",
        "subscription_update_confirm": "confirm",
    }
    return f"/subscriptions/{flow[kind]['subscription']}/{ends[kind]}"


def _over(return_url: str | None, status: int = 410) -> Response:
    return page(
        "message.html",
        status=status,
        heading="This page is not there any more",
        text="Its address works for a while only, and for one customer. Nothing was changed. Go back to where you came "
        "from and open it again.",
        link=return_url,
        link_text="Return to the shop",
    )
