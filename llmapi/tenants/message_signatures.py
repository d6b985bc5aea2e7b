"""HTTP Message Signatures (RFC 9421) with hmac-sha256.

Covered must be `@method`, `@authority`, `@path`, `@query` if there is one, and `content-digest` (RFC 9530, sha-256) if
there is a body; the parameters `created`, `nonce` and `keyid` must be there. More may be covered. A request carries
one signature.
"""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import http_sf
from http_message_signatures import HTTPMessageVerifier, HTTPSignatureKeyResolver
from http_message_signatures.algorithms import HMAC_SHA256
from http_message_signatures.exceptions import HTTPMessageSignaturesException

from llmapi.core.errors import LlmApiError
from llmapi.tenants.received import SKEW, Claim, Received, SecretOf, SignatureWrong, check_names, check_target

SIGNATURE = ("signature", "signature-input")
ALWAYS = ("@method", "@authority", "@path")
DIGEST = "content-digest"
NO_BODY = bytes.fromhex("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")  # SHA-256 of no bytes


def verified(received: Received, secret_of: SecretOf, now: float) -> Claim:
    """Return what the signature claims; raises SignatureWrong, and Overloaded while secrets cannot be read.

    The body is read once the rest holds.

    now: seconds since 1970
    """
    check_target(received)
    wanted = [*ALWAYS, "@query"] if "?" in received.target else [*ALWAYS]
    if DIGEST in received.headers:
        wanted.append(DIGEST)
    try:
        found = _Verifier(secret_of, now).verify(_Message.of(received), require_components=wanted)
    except HTTPMessageSignaturesException as error:
        if isinstance(error.__cause__, LlmApiError):  # the library takes all that a resolver raises for a wrong key
            raise error.__cause__ from None
        raise SignatureWrong(str(error)) from None
    said = found[0].parameters
    check_names(said.get("keyid"), said.get("nonce"))
    digest = received.body_hash()
    if DIGEST in received.headers:
        check_digest(received.headers[DIGEST], digest)
    elif digest != NO_BODY:
        raise SignatureWrong("a body without a digest")
    return Claim(str(said["keyid"]), str(said["nonce"]))


def check_digest(header: str, digest: bytes) -> None:
    """Raise SignatureWrong unless the Content-Digest header is the body's."""
    try:
        said: Any = http_sf.parse(header.encode("latin-1"), tltype="dictionary")
        matches = said["sha-256"][0] == digest
    except (ValueError, KeyError, TypeError):
        raise SignatureWrong("no digest") from None
    if not matches:
        raise SignatureWrong("another body")


@dataclass(frozen=True, slots=True)
class _Message:
    """A request as the library wants to see one."""

    method: str
    url: str
    headers: dict[str, str]

    @classmethod
    def of(cls, received: Received) -> "_Message":
        url = f"{received.scheme}://{received.host}{received.target}"
        return cls(received.method, url, dict(received.headers))


class _Secrets(HTTPSignatureKeyResolver):
    def __init__(self, secret_of: SecretOf) -> None:
        self._secret_of = secret_of

    def resolve_public_key(self, key_id: str) -> bytes:
        return self._secret_of(key_id)


class _Verifier(HTTPMessageVerifier):
    """The library's verifier with our clock."""

    def __init__(self, secret_of: SecretOf, now: float) -> None:
        super().__init__(signature_algorithm=HMAC_SHA256, key_resolver=_Secrets(secret_of))
        self._now = now

    def validate_created_and_expires(self, sig_input: Any, max_age: timedelta | None = None) -> None:
        """Raise SignatureWrong for another time than now."""
        created, expires = sig_input.params.get("created"), sig_input.params.get("expires")
        if type(created) is not int or abs(self._now - created) > SKEW:
            raise SignatureWrong("another time")
        if expires is not None and (type(expires) is not int or expires < self._now):
            raise SignatureWrong("over")
