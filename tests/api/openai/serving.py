"""The application on a socket, and OpenAI's own client for it."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import openai
from flask import Flask
from werkzeug.serving import make_server


@contextmanager
def client_of(app: Flask, **options: Any) -> Iterator[openai.OpenAI]:
    """Serve an application for as long as the context lasts; retries are left to the tests."""
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    address = f"http://127.0.0.1:{server.server_port}/v1"
    usual = {"base_url": address, "api_key": "any", "max_retries": 0, "timeout": 30}
    try:
        with openai.OpenAI(**{**usual, **options}) as sdk:
            yield sdk
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
