"""Promises of the room db."""
