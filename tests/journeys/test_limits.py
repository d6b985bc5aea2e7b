"""A limit over four worker processes and fifty clients: never more in any window, and nearly all there is."""

import threading
import time

import pytest

from tests.journeys.conftest import on
from tests.journeys.service import Service, until

LIMIT, SPAN, SECONDS, CLIENTS = 60, 2, 3.5, 50


@pytest.fixture(params=["file", "valkey"])
def service(request, tmp_path, upstream):
    settings = on(upstream, LLMAPI_WORKERS="4", LLMAPI_LIMITS_MODELS=f"{LIMIT}/{SPAN} seconds")
    if request.param == "valkey":
        # on a machine that is too busy for its own answers nothing shall be taken for an outage
        settings["REDIS_URL"] = f"{request.getfixturevalue('valkey').url}?socket_timeout=5"
    with Service(tmp_path, settings) as running:
        until(lambda: len(running.workers()) == 4)
        yield running


def demand(service, passed, strange):
    """Ask for as long as it takes; note between which moments each request that was let pass was counted."""
    end = time.monotonic() + SECONDS
    while (begin := time.monotonic()) < end:
        answer = service.ask("GET", "/v1/models", Connection="close")
        if answer.status == 200:
            passed.append((begin, time.monotonic()))
        elif answer.status != 429:
            strange.append(answer.status)
        threading.Event().wait(0.1)


def test_no_window_of_a_busy_service_holds_more_than_the_limit(service):
    passed, strange = [], []
    clients = [threading.Thread(target=demand, args=(service, passed, strange)) for _ in range(CLIENTS)]
    for client in clients:
        client.start()
    for client in clients:
        client.join(30)
    passed.sort()
    assert strange == []
    for first in range(len(passed) - LIMIT):
        within = passed[first : first + LIMIT + 1]
        assert max(end for _, end in within) - min(begin for begin, _ in within) >= SPAN
    assert len(passed) >= 0.95 * LIMIT * 2  # at the beginning, and when the first window is over
