"""Promises of the room jobs."""
