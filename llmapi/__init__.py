"""llmapi: a self-hosted REST API for typed language-model tasks.

The rooms, from the front door inwards: app > api | cli > bootstrap, settings > tasks > gateway >
providers | cache | costs | jobs | events > db > core. Imports run downwards only.
"""

__version__ = "0.1.0"
