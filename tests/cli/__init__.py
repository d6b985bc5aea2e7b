"""Promises of the room cli."""
