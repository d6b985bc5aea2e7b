"""Measures the cache by meaning: trains what it ships, and lets policies decide the same streams side by side."""
