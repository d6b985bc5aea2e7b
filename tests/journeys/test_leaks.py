"""Forty secrets go through everything the service does; none is found in anything it wrote."""

import base64
import json
from urllib.parse import quote

import pytest
from cryptography.fernet import Fernet

from tests.fakes.behaviours import Answer, Status
from tests.fakes.receiver import Receiver
from tests.journeys.conftest import on
from tests.journeys.service import Service, until

FERNET = Fernet.generate_key().decode()
TEXT, INVOKE = "/v1/text/generate", "/invoke"
OPERATORS = {
    "GOOGLE_API_KEY": "AIzaSyCanary+Of/The=Operator\"Of'Ours00",
    "OPENAI_API_KEY": "sk-canary-openai-of-the-operator-0000",
    "ANTHROPIC_API_KEY": "sk-ant-canary-of-the-operator-000000",
    "LLMAPI_API_KEYS": "canary-static-key-of-the-operator",
    "LLMAPI_KEY_PEPPER": "canary-pepper-canary-pepper-canary",
    "LLMAPI_AUDIT_KEY": "canary-audit-canary-audit-canary-a",
    "LLMAPI_SECRET_KEY": FERNET,
    "LLMAPI_WEBHOOK_KEY": Fernet.generate_key().decode(),
}


def forms(secret):
    """Return how a secret may look in a file: raw, escaped for JSON or an address, in base64 wherever it began."""
    raw = secret.encode()
    shifted = [base64.b64encode(b"x" * shift + raw)[(0, 4, 4)[shift] : -4] for shift in range(3)]
    return {raw, quote(secret, safe="").encode(), json.dumps(secret)[1:-1].encode(), *shifted}


class Visit:
    """Requests of an operator and of others; every secret that is sent or shown is remembered."""

    def __init__(self, service):
        self.service, self.secrets, self.answers = service, set(OPERATORS.values()), []
        self.own = {"Authorization": f"Bearer {OPERATORS['LLMAPI_API_KEYS']}"}

    def ask(self, method, path, body=None, *, shows=None, **headers):
        """Return the JSON of an answer; `shows` is the field whose value it shows this once."""
        answer = self.service.ask(method, path, body, **{**self.own, **headers})
        if shows is None:
            self.answers.append(answer.data)
            return answer
        self.secrets.add(answer.json()[shows])
        return answer.json()

    def send(self, name):
        """Return a new secret that somebody sends along."""
        secret = f"canary-{name}-{len(self.secrets):02}/+=&\"-sent-along"
        self.secrets.add(secret)
        return secret


def make_secrets(visit, receiver):
    """Let the service make keys, signing secrets and webhook secrets, and store provider keys."""
    for number in range(3):
        key = visit.ask("POST", "/v1/keys", {"name": f"k{number}", "role": "developer"}, shows="key")
        visit.ask("POST", f"/v1/keys/{key['id']}/rotate", {}, shows="key")
        visit.ask("POST", f"/v1/keys/{key['id']}/signing-secret", shows="secret")
    for _ in range(2):
        hook = visit.ask("POST", "/v1/webhooks", {"url": receiver.url, "events": ["*"]}, shows="secret")
        visit.ask("POST", f"/v1/webhooks/{hook['id']}/rotate-secret", shows="secret")
        visit.ask("POST", f"/v1/webhooks/{hook['id']}/test")
    visit.ask("PUT", "/v1/provider-keys/openai", {"key": visit.send("stored")})
    visit.ask("PUT", "/v1/provider-keys/anthropic", {"key": visit.send("stored"), "surplus": visit.send("field")})


def ask_in_every_way(visit, upstream):
    """Send secrets with requests that are answered, refused, cut, timed out, streamed, queued and put in batches."""
    ways = [("Fine.", {}), (Answer(delay=2.0), {"X_Request_Timeout": "0.3"}), (Answer(cut_after=1), {})]
    ways += [(Status(code, "{key} is bad"), {}) for code in (400, 401, 429, 503)]
    for way, headers in ways:
        for stream in (False, True):
            secret = visit.send("own")
            told = Status(way.code, f"{secret} is bad") if isinstance(way, Status) else way
            upstream.script = [told] * 3
            body = {"prompt": f"q{len(visit.secrets)}", "stream": stream}
            visit.ask("POST", TEXT, body, X_Provider_Key=secret, **headers)
            upstream.script = []
    body = {"request_id": "r1", "user_prompt": "Hi"}
    visit.ask("POST", INVOKE, {**body, "openai_api_key": visit.send("invoke")})
    visit.ask("POST", INVOKE, {**body, "openai_api_key": visit.send("invoke"), "temperature": "hot"})
    visit.ask("POST", "/v1/jobs", {"task": "text", "request": {"prompt": "x"}}, X_Provider_Key=visit.send("job"))
    line = {"custom_id": "c", "body": {"prompt": "x"}}
    visit.ask("POST", "/v1/batches", {"endpoint": TEXT, "requests": [line]}, X_Provider_Key=visit.send("batch"))
    visit.ask("GET", "/v1/models", Authorization=f"Bearer {visit.send('wrong')}")
    visit.ask("GET", "/v1/models", X_API_Key=visit.send("wrong"))
    visit.ask("GET", f"/v1/models?api_key={quote(visit.send('address'), safe='')}")


@pytest.fixture
def receiver():
    with Receiver() as running:
        yield running


def test_forty_secrets_are_in_nothing_the_service_wrote(tmp_path, upstream, receiver):
    settings = on(upstream, LLMAPI_AUTH="required", LLMAPI_LOG_LEVEL="debug", LLMAPI_RETRY_ATTEMPTS="1")
    settings |= {**OPERATORS, "LLMAPI_WEBHOOK_ALLOW": receiver.url.partition("://")[2].partition("/")[0]}
    with Service(tmp_path, settings) as service:
        visit = Visit(service)
        make_secrets(visit, receiver)
        ask_in_every_way(visit, upstream)
        job = visit.ask("POST", "/v1/jobs", {"task": "text", "request": {"prompt": "later"}}).json()["id"]
        line = {"custom_id": "c", "body": {"prompt": "in a batch"}}
        batch = visit.ask("POST", "/v1/batches", {"endpoint": TEXT, "requests": [line]}).json()["id"]
        until(lambda: visit.ask("GET", f"/v1/jobs/{job}").json()["status"] == "succeeded")
        until(lambda: visit.ask("GET", f"/v1/batches/{batch}").json()["status"] == "completed")
        until(lambda: len(receiver.sent) >= 4)
        for path in ("/metrics", "/stats", "/health", "/v1/audit?limit=100", "/v1/keys", "/v1/webhooks"):
            visit.ask("GET", path)
    written = {str(file): file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()}
    assert len(visit.secrets) >= 40
    written["answers"] = b"\n".join(visit.answers)
    written["webhooks"] = b"\n".join(sent.body for sent in receiver.sent)
    assert found_in(written, {"in a batch", "gemini-flash-latest"})  # what is no secret is there
    assert not found_in(written, visit.secrets)


def found_in(written, words):
    """Return which words are found where."""
    looked = {word: forms(word) for word in words}
    return {(word, where) for word in looked for where, data in written.items() if any(f in data for f in looked[word])}
