"""Billing: subscriptions, their invoices, what collects them, and what changes them."""
