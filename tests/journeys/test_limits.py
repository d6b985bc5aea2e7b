"""A limit over four worker processes and fifty clients: never more in any window, and nearly all there is."""

import threading
import time
from collections import defaultdict

import pytest

from tests.journeys.conftest import on
from tests.journeys.service import Service, until

LIMIT, SPAN, CLIENTS = 60, 2, 50
PATIENCE = 40.0  # seconds


@pytest.fixture(params=["file", "valkey"])
def service(request, tmp_path, upstream):
    settings = on(upstream, LLMAPI_WORKERS="4", LLMAPI_LIMITS_MODELS=f"{LIMIT}/{SPAN} seconds")
    if request.param == "valkey":
        # on a machine that is too busy for its own answers nothing shall be taken for an outage
        settings["REDIS_URL"] = f"{request.getfixturevalue('valkey').url}?socket_timeout=5"
    with Service(tmp_path, settings) as running:
        until(lambda: len(running.workers()) == 4)
        yield running


def demand(service, told):
    """Ask until two windows are full; note by its status between which moments each request was counted."""
    end = time.monotonic() + PATIENCE
    while len(told[200]) < 2 * LIMIT and (begin := time.monotonic()) < end:
        status = service.ask("GET", "/v1/models", Connection="close").status
        told[status].append((begin, time.monotonic()))
        threading.Event().wait(0.1)


def test_no_window_of_a_busy_service_holds_more_than_the_limit(service):
    told = defaultdict(list)
    clients = [threading.Thread(target=demand, args=(service, told)) for _ in range(CLIENTS)]
    for client in clients:
        client.start()
    for client in clients:
        client.join(2 * PATIENCE)
    passed = sorted(told[200])
    assert told.keys() == {200, 429} and len(passed) >= 2 * LIMIT
    for first in range(len(passed) - LIMIT):
        within = passed[first : first + LIMIT + 1]
        assert max(end for _, end in within) - min(begin for begin, _ in within) >= SPAN
    for begin, end in told[429]:  # nobody was refused while there was room
        assert sum(left > begin - SPAN and came < end for came, left in passed) >= 0.95 * LIMIT
