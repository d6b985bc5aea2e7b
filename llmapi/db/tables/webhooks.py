"""Webhook endpoints, what is to be delivered to them, and how it went."""
