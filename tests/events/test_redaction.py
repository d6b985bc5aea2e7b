"""A secret is never read in a log, however it was written down."""

from urllib.parse import quote

import orjson
import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from llmapi.events.logs import LineRenderer
from llmapi.events.redaction import hide, spellings, without_secrets

LOOKS = [
    "AIzaSyD-1234567890abcdefghijklmnopqrstu",
    "sk-proj-abcdefghijklmnopqrstuvwx",
    "gsk_abcdefghijklmnopqrstuvwx1234",
    "lak_abc12345_0123456789abcdef0123456789abcdefXYZ",
    "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
]


def rendered(render=None, **event):
    line = (render or LineRenderer())(None, "info", dict(event))
    orjson.loads(line)  # whatever is taken out, a line stays JSON
    return line.decode()


@pytest.mark.parametrize("key", LOOKS)
@pytest.mark.parametrize(
    "said",
    [
        "the key {} is wrong",
        "GET https://x.test/v1?key={}&alt=sse",
        "Authorization: Bearer {}",
        "header%3A%20Bearer%20{}",
        '{{"error": "key {} not valid"}}',
        "({})",
    ],
)
def test_keys_of_known_make_are_taken_out_wherever_they_stand(key, said):
    line = rendered(event=said.format(key), error={"trace": ["Traceback", said.format(key)]})
    assert key not in line and key[:12] not in line


@pytest.mark.parametrize(
    ("said", "secret"),
    [
        ("Authorization: Basic dXNlcjpwYXNzd29yZA==", "dXNlcjpw"),
        ("Authorization: Bearer abcdef.ghijkl", "abcdef.ghijkl"),
        ("{'authorization': 'Bearer abcdef.ghijkl'}", "abcdef.ghijkl"),
        ("{'x-api-key': 'hunter22', 'accept': '*/*'}", "hunter22"),
        ('{"password": "hunter22"}', "hunter22"),
        ("password=hunter22&user=a", "hunter22"),
        ("api_key%3Dhunter22", "hunter22"),
        ("postgresql+psycopg://llmapi:hunter22@db.internal:5432/x", "hunter22"),
    ],
)
def test_what_is_named_as_a_secret_in_a_text_is_taken_out(said, secret):
    assert secret not in rendered(event=said)
    assert secret not in rendered(event=orjson.dumps({"inner": said}).decode())


@pytest.mark.parametrize(
    "name", ["authorization", "Authorization", "x-api-key", "X-Provider-Key", "api_key", "password", "cookie"]
)
def test_a_field_named_as_a_secret_is_hidden_at_any_depth(name):
    line = rendered(event="x", **{name: "hunter22"}, headers=[{name: ["hunter22", {"a": "hunter22"}]}])
    assert "hunter22" not in line and line.count("***") == 2


@pytest.mark.parametrize("value", [None, True, 12, 1.5])
def test_a_field_that_only_sounds_like_a_secret_keeps_its_number(value):
    assert orjson.loads(rendered(event="x", own_api_key=value, cache_key="k", tokens=3)) == {
        "event": "x",
        "own_api_key": value,
        "cache_key": "k",
        "tokens": 3,
    }


@pytest.mark.parametrize("secret", ["pässwörd & more", 'with "quotes" \\ and\nlines', "a/b?c=d e+f", "plain-value"])
def test_a_registered_value_is_taken_out_in_every_spelling(secret):
    render = LineRenderer([secret])
    for said in (secret, quote(secret), quote(secret, safe=""), orjson.dumps(secret).decode(), repr(secret)):
        line = rendered(render, event=f"it was {said}, they say", inner=orjson.dumps({"k": said}).decode())
        assert "***" in line
        assert not any(form in line.encode() for form in spellings([secret]))


@given(st.text(st.characters(codec="utf-8", exclude_characters="*"), min_size=6, max_size=20))
def test_no_registered_value_survives_in_a_line(secret):
    line = orjson.dumps({"event": f"x{secret}y"})
    assert orjson.dumps(secret)[1:-1] not in without_secrets(line, spellings([secret]))


def test_a_value_of_a_request_is_hidden_until_its_context_is_cleared():
    hide("my-own-provider-key")
    hide("another-secret")
    try:
        bound = structlog.contextvars.get_contextvars()
        line = rendered(event="sent my-own-provider-key and another-secret", **bound)
        assert orjson.loads(line) == {"event": "sent *** and ***"}
    finally:
        structlog.contextvars.clear_contextvars()
    assert structlog.contextvars.get_contextvars() == {}


def test_a_short_value_does_not_riddle_every_line():
    assert spellings(["", "abc"]) == ()


def test_a_line_without_secrets_is_left_as_it_is():
    said = "task-risk-sk-1 asked https://x.test/a@b for 12 tokens; keyword"
    assert orjson.loads(rendered(event=said)) == {"event": said}


def test_what_strict_json_has_no_room_for_is_logged_all_the_same():
    line = rendered(event="x", big=2**70, lone="\ud800", thing=object)
    assert "1180591620717411303424" in line and "object" in line
