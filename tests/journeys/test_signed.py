"""Signed requests as gunicorn hands them over: the bytes of the request line, and one memory for both workers."""

from dataclasses import replace
from urllib.parse import urlsplit
from uuid import uuid4

import pytest
from cryptography.fernet import Fernet

from llmapi.core.clock import utc_now
from tests.api.test_signatures import send
from tests.journeys.service import Service, until
from tests.tenants.signing import COVERED, Sent, signed, signed_simply

KEY = "operators-secret"


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    settings = {
        "LLMAPI_WORKERS": "2",
        "LLMAPI_LOCAL": "false",
        "LLMAPI_AUTH": "required",
        "LLMAPI_API_KEYS": KEY,
        "LLMAPI_SECRET_KEY": Fernet.generate_key().decode(),
    }
    with Service(tmp_path_factory.mktemp("signed"), settings) as running:
        until(lambda: len(running.workers()) == 2)
        yield running


@pytest.mark.parametrize("sign", [signed, signed_simply])
def test_a_signed_request_holds_once_on_either_worker_and_only_with_its_own_escapes(service, sign):
    bearer = {"Authorization": f"Bearer {KEY}"}
    key = service.ask("POST", "/v1/keys", {"name": "n", "role": "viewer"}, **bearer).json()["id"]
    secret = service.ask("POST", f"/v1/keys/{key}/signing-secret", **bearer).json()["secret"]

    def fresh() -> Sent:
        sent = Sent("GET", urlsplit(service.url).netloc, "/v1/jobs/a%2Fb%20c%C3%A9", b"")
        covered = {} if sign is signed_simply else {"covered": COVERED[:-1]}
        return sign(sent, secret, key=key, nonce=uuid4().hex, at=utc_now(), **covered)

    sent = fresh()
    assert [send(sent)[0] for _ in range(8)] == [404] + [401] * 7
    assert send(replace(fresh(), target="/v1/jobs/a%2fb%20c%C3%A9"))[0] == 401
