"""Signed requests for clients without a library: four headers and one HMAC.

    X-Llmapi-Key-Id: the id of the key
    X-Llmapi-Timestamp: seconds since 1970, within 300 s of the server's clock
    X-Llmapi-Nonce: 8 to 128 printable ASCII characters without spaces, never sent before
    X-Llmapi-Signature: v1=<HMAC-SHA-256 in lower-case hexadecimal>

The key of the HMAC is the signing secret as it was shown, prefix included. Signed are these nine lines, joined by one
line feed each, with none at the end:

    v1
    the method, in upper case
    the Host header, in lower case, with its port if it has one
    the path as it stands in the request line, percent-encoding untouched
    the query as it stands there, without the `?`; an empty line if there is none
    SHA-256 of the body as it is sent, in lower-case hexadecimal; of no bytes if there is none
    the timestamp, the nonce and the key id, each as in its header and on a line of its own
"""

import hashlib
import hmac

from llmapi.tenants.received import SKEW, Claim, Received, SecretOf, SignatureWrong, check_names, check_target

VERSION = "v1"
KEY_ID, TIMESTAMP, NONCE = "x-llmapi-key-id", "x-llmapi-timestamp", "x-llmapi-nonce"
SIGNATURE = "x-llmapi-signature"
DIGITS = 12  # of a timestamp, at most


def verified(received: Received, secret_of: SecretOf, now: float) -> Claim:
    """Return what the signature claims; raises SignatureWrong. The body is read last.

    now: seconds since 1970
    """
    headers = received.headers
    key_id, nonce, stamp = headers.get(KEY_ID, ""), headers.get(NONCE, ""), headers.get(TIMESTAMP, "")
    check_names(key_id, nonce)
    check_target(received)
    if not (stamp.isascii() and stamp.isdigit() and len(stamp) <= DIGITS) or abs(now - int(stamp)) > SKEW:
        raise SignatureWrong("another time")
    secret = secret_of(key_id)
    lines = text_of(received, stamp, nonce, key_id)
    if not hmac.compare_digest(headers[SIGNATURE].encode("latin-1", "replace"), signature(secret, lines).encode()):
        raise SignatureWrong("another signature")
    return Claim(key_id, nonce)


def text_of(received: Received, stamp: str, nonce: str, key_id: str) -> str:
    """Return what is signed."""
    return "\n".join(
        (
            VERSION,
            received.method,
            received.host.lower(),
            received.path,
            received.query,
            received.body_hash().hex(),
            stamp,
            nonce,
            key_id,
        )
    )


def signature(secret: bytes, text: str) -> str:
    """Return the header's value."""
    return f"{VERSION}={hmac.new(secret, text.encode('latin-1', 'replace'), hashlib.sha256).hexdigest()}"
