"""No key reaches a log, a file, an answer or a metric, whatever happens to the call it was used for."""

from tests.fakes.behaviours import Status
from tests.journeys.conftest import on
from tests.journeys.service import Service, until

VENDOR = "AIzaSyCanaryCanaryCanaryCanaryCanary12"
CALLER = "caller-canary-caller-canary"
TEXT = "/v1/text/generate"


def test_keys_stay_where_they_are(tmp_path, upstream):
    settings = on(upstream, LLMAPI_AUTH="required", LLMAPI_API_KEYS=CALLER, LLMAPI_LOG_LEVEL="debug")
    upstream.script = ["Fine.", Status(400, f"bad key {VENDOR}"), Status(401, VENDOR), Status(503, VENDOR), "Fine."]
    with Service(tmp_path, {**settings, "GOOGLE_API_KEY": VENDOR}) as service:
        told = [service.ask("POST", TEXT, {"prompt": f"q{n}"}, Authorization=f"Bearer {CALLER}") for n in range(4)]
        told.append(service.ask("POST", TEXT, {"prompt": VENDOR}, Authorization=f"Bearer {CALLER}x"))
        told.append(service.ask("GET", f"/v1/models?api_key={CALLER}", X_API_Key=CALLER))
        job = {"task": "text", "request": {"prompt": "later"}}
        told.append(service.ask("POST", "/v1/jobs", job, X_API_Key=CALLER))
        told.append(service.ask("GET", "/metrics", X_API_Key=CALLER))
        until(lambda: len(upstream.asked) >= 6)
    written = [file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()]
    for secret in (VENDOR.encode(), CALLER.encode()):
        assert not any(secret in answer.data for answer in told)
        assert not any(secret in content for content in written)
    assert {VENDOR} == {asked.headers["x-goog-api-key"] for asked in upstream.asked}
