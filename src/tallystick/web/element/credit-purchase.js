// The <credit-purchase> element: a card's button that starts a purchase and goes to Stripe's checkout page.
// Put what the card shows inside it, with a <button> and, for messages, an element with data-message.
// Attributes: pack-id or plan say what to buy, or manage that the customer portal is wanted; endpoint where to
// ask (default: Tallystick's own route). A button's data-interval, month or year, says how often a plan is paid.
class CreditPurchase extends HTMLElement {
  constructor() {
    super();
    this.addEventListener("click", (event) => {
      const button = event.target.closest("button");
      if (button) this.buy(button.dataset.interval);
    });
    // Coming back with the browser's back button shows the page as it was left: usable again.
    this.returned = () => this.busy(false);
  }

  connectedCallback() {
    window.addEventListener("pageshow", this.returned);
  }

  disconnectedCallback() {
    window.removeEventListener("pageshow", this.returned);
  }

  wanted(interval) {
    const plan = this.getAttribute("plan");
    const pack = this.getAttribute("pack-id");
    if (this.hasAttribute("manage")) return ["/api/stripe/portal", {}];
    if (plan) return ["/api/stripe/create-plan-checkout", interval ? { plan, interval } : { plan }];
    return ["/api/stripe/create-credit-checkout", pack ? { pack_id: pack } : {}];
  }

  async buy(interval) {
    if (this.hasAttribute("busy")) return;
    this.busy(true);
    this.say(this.hasAttribute("manage") ? "Opening your subscription…" : "Taking you to the checkout…");
    try {
      const [endpoint, body] = this.wanted(interval);
      const response = await fetch(this.getAttribute("endpoint") ?? endpoint, {
        method: "POST",
        headers: { "Content-Type": "application/json", Accept: "application/json" },
        body: JSON.stringify(body),
      });
      const answer = await response.json();
      if (response.ok) {
        window.location.assign(answer.url);
        return;
      }
      if (response.status === 401) this.say("You have been signed out. Sign in again, then buy. Nothing was charged.", true);
      else this.say(answer.detail ?? "That did not work. Nothing was charged. Please try again.", true);
    } catch {
      this.say("The server could not be reached. Nothing was charged. Check your connection and try again.", true);
    }
    this.busy(false);
  }

  busy(is) {
    this.toggleAttribute("busy", is);
    for (const button of this.querySelectorAll("button")) button.disabled = is;
    if (!is && !this.failed) this.say("");
  }

  say(text, failed = false) {
    this.failed = failed;
    const place = this.querySelector("[data-message]");
    if (!place) return;
    place.textContent = text;
    place.toggleAttribute("data-failed", failed);
  }
}

if (!customElements.get("credit-purchase")) customElements.define("credit-purchase", CreditPurchase);
