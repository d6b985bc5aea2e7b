"""X-Cost-USD: what an answer cost, on every door; absent when nobody knows, for no price is never 0."""

from decimal import Decimal


def said(text):
    return [{"role": "user", "content": text}]


DOORS = {
    "/v1/text/generate": {"prompt": "Say one."},
    "/v1/classify": {"text": "Buy now", "labels": ["spam", "ham"]},
    "/v1/chat": {"messages": said("Say two.")},
    "/v1/chat/completions": {"model": "default", "messages": said("Say three.")},
    "/v1/responses": {"model": "default", "input": "Say four."},
    "/invoke": {"request_id": "one", "user_prompt": "Say five."},
    "/api/query": {"query": "Say six."},
}


def test_an_answer_of_every_door_tells_its_cost(client, gemini):
    for door, question in DOORS.items():
        gemini.script = ["spam"] * 5
        answer = client.post(door, json=question)
        assert Decimal(answer.headers["X-Cost-USD"]) > 0, (door, answer.json)
        if "cost" in answer.json:
            assert answer.headers["X-Cost-USD"] == answer.json["cost"]["amount"]


def test_a_kept_answer_costs_nothing(client, gemini):
    gemini.script = ["Hello."]
    for _ in range(2):
        answer = client.post("/v1/text/generate", json=DOORS["/v1/text/generate"])
    assert (answer.json["cache"]["status"], answer.headers["X-Cost-USD"]) == ("hit", "0")


def test_an_unpriced_answer_tells_no_cost(client, gemini):
    gemini.script = ["Hello."]
    answer = client.post("/v1/text/generate", json={"prompt": "Say hello.", "model": "gemini/fake-9"})
    assert answer.json["cost"] == {"amount": None, "currency": "USD", "status": "unpriced"}
    assert "X-Cost-USD" not in answer.headers
