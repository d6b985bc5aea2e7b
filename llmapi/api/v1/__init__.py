"""api/v1: one file per endpoint group; a view is a sentence."""
