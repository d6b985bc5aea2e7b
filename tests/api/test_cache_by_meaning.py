"""Managing what is kept by meaning, with the real embedder and a fake Gemini."""

from tests.api.test_semantic import RIVERS, ask, rivers, talk

__all__ = ["rivers"]


def looked(client, prompt):
    request = {"prompt": prompt, "cache": {"max_error": 0.05}}
    return client.post("/v1/cache/lookup", json={"task": "text", "request": request}).json["calls"][0]


def test_kept_answers_are_explained_judged_and_cleared(client, rivers):
    entry = next(told for answer in talk(client) if (told := answer.json["cache"])["entry"])["entry"]
    call = looked(client, f"Tell me, how long is the river {RIVERS[0]}?")
    assert (call["exact"], len(call["semantic"]["entries"]) > 0, call["semantic"]["max_error"]) == (None, True, 0.05)
    assert {"similarity", "probability", "reason"} <= set(call["semantic"])
    wrong = {"id": entry, "good": False, "evict": True}
    assert client.post("/v1/feedback", json=wrong).json == {"id": entry, "learned": True, "evicted": True}
    assert client.post("/v1/feedback", json=wrong).status_code == 404
    stats = client.get("/v1/cache/stats").json
    assert stats["semantic"]["entries"] > 0
    assert client.delete("/v1/cache?all=true").status_code == 200
    assert client.get("/v1/cache/stats").json["semantic"]["entries"] == 0
    assert ask(client, f"How long is the river {RIVERS[0]}?").json["cache"]["status"] == "miss"
