"""Four workers asked the same at the same time pay once where they share a server, and four times at most without."""

from concurrent.futures import ThreadPoolExecutor

import pytest
import urllib3

from tests.fakes.behaviours import Answer
from tests.journeys.conftest import on
from tests.journeys.service import Service, until

CALLERS = 200


@pytest.mark.parametrize(("shared", "most"), [(True, 1), (False, 4)])
def test_200_identical_calls_at_once(tmp_path, upstream, valkey, shared, most):
    upstream.default = Answer("shared", delay=2.0)
    cache = {"LLMAPI_CACHE_URL": valkey.url} if shared else {}
    settings = on(upstream, LLMAPI_WORKERS="4", LLMAPI_LIMITS_TEXT="100000/minute", **cache)
    with Service(tmp_path, settings) as service:
        until(lambda: len(service.workers()) == 4)
        http = urllib3.PoolManager(maxsize=CALLERS, retries=False, timeout=60)

        def ask(_):
            return http.request("POST", f"{service.url}/v1/text/generate", json={"prompt": "the same"})

        with ThreadPoolExecutor(CALLERS) as pool:
            answers = list(pool.map(ask, range(CALLERS)))
        assert {answer.status for answer in answers} == {200}
        assert {answer.json()["output"]["text"] for answer in answers} == {"shared"}
        assert 1 <= len(upstream.asked) <= most
        told = service.ask("GET", "/health").json()["dependencies"]["cache"]
        assert told["status"] == "ok" and ("redis" in told.get("tiers", {})) == shared
