"""GET /stats."""

from pydantic import SecretStr

from llmapi.api.schemas.stats import Statistics


def test_stats_tell_what_was_asked_and_what_the_cache_saved(client, gemini):
    gemini.script = [503, "Waves.", 400]
    for prompt in ("the sea", "the sea", "the land"):
        client.post("/v1/text/generate", json={"prompt": prompt})
    told = client.get("/stats").json
    assert told["requests"]["by_route"]["/v1/text/generate"] == 3
    assert told["requests"]["by_status"] == {"2xx": 2, "5xx": 1}
    assert (told["calls"]["total"], told["errors"]) == (3, {"provider_invalid": 1})
    assert (told["cache"]["hits"], told["cache"]["misses"], told["retries"]) == (1, 2, 1)
    assert told["tokens"]["by_model"][0]["provider"] == "gemini"
    assert told["tokens"]["input"] > 0
    assert float(told["cost_usd"]["total"]) > 0
    assert told["providers"] == [{"provider": "gemini", "calls": 3, "failures": 2}]
    assert told["uptime_s"] >= 0


def test_stats_are_what_their_schema_says(client):
    client.post("/v1/text/generate", json={"prompt": "the sea"})
    assert Statistics().validate(client.get("/stats").json) == {}


def test_stats_need_a_key_where_keys_are_required(make):
    client = make(auth="required", api_keys=(SecretStr("first-key-first-key"),))
    assert client.get("/stats").status_code == 401
    assert client.get("/stats", headers={"X-API-Key": "first-key-first-key"}).status_code == 200
