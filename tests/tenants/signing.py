"""Requests for tests, signed in either way."""

import hashlib
import hmac
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from http_message_signatures import HTTPMessageSigner, HTTPSignatureKeyResolver
from http_message_signatures.algorithms import HMAC_SHA256

from llmapi.tenants.received import Received

NOW = datetime(2026, 11, 2, 9, 30, tzinfo=UTC)
KEY = "01kkey"


@dataclass(frozen=True)
class Sent:
    """A request as a client sends it."""

    method: str = "POST"
    host: str = "api.example.com"
    target: str = "/v1/chat%2Fa?b=%20c"
    body: bytes = b'{"a": 1}'
    headers: dict[str, str] = field(default_factory=dict)

    def received(self) -> Received:
        headers = {name.lower(): value for name, value in self.headers.items()}
        return Received(self.method, "http", self.host, self.target, headers, hashlib.sha256(self.body).digest)

    @property
    def url(self) -> str:
        return f"http://{self.host}{self.target}"

    def with_headers(self, **headers: str) -> "Sent":
        return replace(self, headers={**self.headers, **headers})


def signed_simply(sent: Sent, secret: str, *, key: str = KEY, nonce: str = "nonce-one", at: datetime = NOW) -> Sent:
    """Sign as the documentation says, with nothing but the standard library."""
    path, _, query = sent.target.partition("?")
    stamp = str(int(at.timestamp()))
    body = hashlib.sha256(sent.body).hexdigest()
    text = "\n".join(["v1", sent.method, sent.host.lower(), path, query, body, stamp, nonce, key])
    proof = hmac.new(secret.encode(), text.encode(), hashlib.sha256).hexdigest()
    names = {"X-Llmapi-Key-Id": key, "X-Llmapi-Timestamp": stamp, "X-Llmapi-Nonce": nonce}
    return sent.with_headers(**names, **{"X-Llmapi-Signature": f"v1={proof}"})


class Secret(HTTPSignatureKeyResolver):
    def __init__(self, secret: str) -> None:
        self._secret = secret

    def resolve_private_key(self, key_id: str) -> bytes:
        return self._secret.encode()


COVERED = ("@method", "@authority", "@path", "@query")


def signed(
    sent: Sent,
    secret: str,
    *,
    key: str = KEY,
    nonce: str | None = "nonce-one",
    at: datetime = NOW,
    covered: tuple[str, ...] = COVERED,
    expires: timedelta | None = None,
    digest: bool = True,
) -> Sent:
    """Sign with the library, as RFC 9421 says."""
    sent = replace(sent, headers=dict(sent.headers))
    signer = HTTPMessageSigner(signature_algorithm=HMAC_SHA256, key_resolver=Secret(secret))
    signer.sign(
        sent,
        key_id=key,
        nonce=nonce,
        created=at,
        expires=at + expires if expires else None,
        covered_component_ids=covered,
        body=sent.body if digest and sent.body else None,
    )
    return sent
