"""No accepted call is paid twice."""

TEXT = "/v1/text/generate"
ASKED = {"prompt": "Say something."}


def test_smoke(client, gemini):
    said = {"Idempotency-Key": "k1"}
    first, second = [client.post(TEXT, json={**ASKED, "cache": {"mode": "bypass"}}, headers=said) for _ in range(2)]
    assert (first.status_code, second.status_code) == (200, 200), second.data
    assert second.data == first.data
    assert len(gemini.asked) == 1
