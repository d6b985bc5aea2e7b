"""api/schemas: the shapes callers send and get, bounds and examples included."""
