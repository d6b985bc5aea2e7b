"""Signed requests over a socket, by the library and by four headers: bytes as they come, and what they may then do."""

import http.client
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime
from typing import Any
from uuid import uuid4

import pytest
from cryptography.fernet import Fernet
from flask.testing import FlaskClient
from pydantic import SecretStr
from werkzeug.serving import WSGIRequestHandler, make_server

from llmapi.app import create_app
from llmapi.bootstrap import build
from llmapi.core.clock import utc_now
from llmapi.setting_tables import Limits
from llmapi.settings import Settings
from tests.tenants.signing import COVERED, Sent, signed, signed_simply

OPERATOR = {"Authorization": "Bearer operators-secret", "Content-Type": "application/json"}
WAYS = pytest.mark.parametrize("sign", [signed, signed_simply])
JSON = {"Content-Type": "application/json"}
ASKED = b'{"prompt": "Hi", "dry_run": true}'


class Quiet(WSGIRequestHandler):
    def log(self, *_: Any) -> None:
        pass


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FlaskClient]:
    settings = Settings(
        data_dir=tmp_path_factory.mktemp("signed"),
        local=False,
        google_api_key=SecretStr("AIzaSyFakeFakeFakeFakeFakeFakeFakeFake"),
        auth="required",
        api_keys=(SecretStr("operators-secret"),),
        secret_key=(SecretStr(Fernet.generate_key().decode()),),
        limits=Limits(signing_secrets="1000/minute"),
    )
    services = build(settings)
    yield create_app(services).test_client()
    services.close()


@pytest.fixture(scope="module")
def host(client) -> Iterator[str]:
    """Where the application listens."""
    server = make_server("127.0.0.1", 0, client.application, threaded=True, request_handler=Quiet)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield f"127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join(10)
    server.server_close()


@pytest.fixture
def issued(client) -> Callable[..., tuple[str, str]]:
    """Make a key that signs: issued(role="developer") is its id and its secret."""

    def issue(role: str = "developer", **more: Any) -> tuple[str, str]:
        made = client.post("/v1/keys", json={"name": "n", "role": role, **more}, headers=OPERATOR)
        assert made.status_code == 201, made.json
        secret = client.post(f"/v1/keys/{made.json['id']}/signing-secret", headers=OPERATOR)
        assert secret.status_code == 200, secret.json
        return made.json["id"], secret.json["secret"]

    return issue


def send(sent: Sent) -> tuple[int, Any]:
    """Send it byte for byte; returns status and JSON."""
    connection = http.client.HTTPConnection(sent.host, timeout=30)
    connection.putrequest(sent.method, sent.target, skip_accept_encoding=True)
    for name, value in {**sent.headers, "Content-Length": str(len(sent.body))}.items():
        connection.putheader(name, value)
    connection.endheaders(sent.body)
    answer = connection.getresponse()
    told = answer.read()
    connection.close()
    return answer.status, json.loads(told)


def proven(sign: Callable[..., Sent], sent: Sent, key: tuple[str, str], at: datetime | None = None) -> Sent:
    covered = {} if sign is signed_simply or "?" in sent.target else {"covered": COVERED[:-1]}
    return sign(sent, key[1], key=key[0], nonce=uuid4().hex, at=at or utc_now(), **covered)


def get(host: str, target: str) -> Sent:
    return Sent("GET", host, target, b"")


def post(host: str, body: bytes = ASKED) -> Sent:
    return Sent("POST", host, "/v1/text/generate", body, dict(JSON))


@WAYS
def test_a_signed_request_needs_no_key_and_is_taken_once(host, issued, sign):
    sent = proven(sign, post(host), issued())
    assert send(sent)[0] == 200
    status, told = send(sent)
    assert (status, told["code"], told["detail"]) == (401, "unauthenticated", "the signature is not valid")


@WAYS
@pytest.mark.parametrize("target", ["/v1/jobs/a%2Fb%20c", "/v1/jobs/%C3%A9%2e", "/v1/jobs?limit=%31", "/v1/me?a=%26+d"])
def test_what_is_percent_encoded_is_signed_as_it_is_sent(host, issued, sign, target):
    key = issued()
    assert send(proven(sign, get(host, target), key))[0] in (200, 404, 422)
    sent = proven(sign, get(host, target), key)
    changed = target.replace("%2F", "%2f").replace("%2e", "%2E").replace("%31", "1").replace("%26", "&")
    assert changed != target and send(replace(sent, target=changed))[0] == 401


@WAYS
def test_another_body_another_method_and_another_query_are_refused(host, issued, sign):
    key = issued()
    for change in ({"body": ASKED.replace(b"Hi", b"Ho")}, {"method": "PUT"}, {"target": "/v1/text/generate?x=1"}):
        assert send(replace(proven(sign, post(host), key), **change))[0] == 401


@WAYS
def test_a_signed_upload_may_be_larger_than_other_bodies(host, issued, sign):
    line = b'{"custom_id": "a", "method": "POST", "url": "/v1/embeddings", "body": {}}\n'
    part = b"--x\r\nContent-Disposition: form-data; "
    form = part + b'name="purpose"\r\n\r\nbatch\r\n' + part + b'name="file"; filename="f.jsonl"\r\n\r\n'
    body = form + line * 40_000 + b"\r\n--x--\r\n"
    sent = Sent("POST", host, "/v1/files", body, {"Content-Type": "multipart/form-data; boundary=x"})
    status, told = send(proven(sign, sent, issued()))
    assert (status, told["bytes"]) == (200, len(line) * 40_000)


@WAYS
def test_a_body_that_is_too_large_is_refused_as_ever(host, issued, sign):
    assert send(proven(sign, post(host, b" " * 1_100_000), issued()))[0] == 413


@WAYS
def test_a_signature_gives_what_its_key_may_and_no_more(host, issued, sign):
    key = issued(role="viewer")
    assert send(proven(sign, get(host, "/v1/jobs"), key))[0] == 200
    assert send(proven(sign, post(host), key))[0] == 403


def test_a_key_that_must_sign_is_not_taken_bare(client, host):
    made = client.post("/v1/keys", json={"name": "n", "role": "viewer", "requires_signature": True}, headers=OPERATOR)
    answer = client.get("/v1/me", headers={"Authorization": f"Bearer {made.json['key']}"})
    assert answer.status_code == 401
    secret = client.post(f"/v1/keys/{made.json['id']}/signing-secret", headers=OPERATOR).json["secret"]
    assert send(proven(signed, get(host, "/v1/me"), (made.json["id"], secret)))[0] == 200


@WAYS
def test_a_revoked_key_and_a_deleted_secret_sign_no_more(client, host, issued, sign):
    revoked, silenced = issued(), issued()
    client.delete(f"/v1/keys/{revoked[0]}", headers=OPERATOR)
    address = f"/v1/keys/{silenced[0]}/signing-secret"
    assert [client.delete(address, headers=OPERATOR).status_code for _ in range(2)] == [204, 404]
    for key in (revoked, silenced):
        assert send(proven(sign, get(host, "/v1/me"), key))[0] == 401


def test_nobody_gets_the_secret_of_a_key_that_may_do_more_or_is_not_his(client, issued):
    admins, _ = issued(role="admin")
    lesser = {"name": "n", "role": "admin", "scopes": ["keys:write", "keys:read"]}
    key = client.post("/v1/keys", json=lesser, headers=OPERATOR).json["key"]
    mine = {"Authorization": f"Bearer {key}"}
    assert client.post(f"/v1/keys/{admins}/signing-secret", headers=mine).status_code == 403
    assert client.delete(f"/v1/keys/{admins}/signing-secret", headers=mine).status_code == 403
    assert client.post("/v1/keys/01kunknown/signing-secret", headers=mine).status_code == 404
