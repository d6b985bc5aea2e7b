"""Idempotency keys and what became of their requests."""
