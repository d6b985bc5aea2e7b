"""Requests that are signed instead of carrying a key: read as they came over the wire, before anything is decoded."""

import hashlib
import tempfile
from collections.abc import Mapping
from typing import IO
from urllib.parse import urlsplit

from flask import Request, after_this_request
from werkzeug.wrappers import Response

from llmapi.api.openai.batches import LARGEST
from llmapi.api.openai.files import FORM
from llmapi.services import Services
from llmapi.tenants.received import Received
from llmapi.tenants.signing import Signatures

HEADERS = ("HTTP_X_LLMAPI_SIGNATURE", "HTTP_SIGNATURE", "HTTP_SIGNATURE_INPUT")
PIECE = 65_536  # bytes read at once
IN_MEMORY = 1_048_576  # bytes of a body; what is larger waits in a file


class Signed:
    """Says which key signed a request.

    most: bytes of a body, by endpoint, where it is not the usual
    """

    def __init__(self, signatures: Signatures, most: Mapping[str, int]) -> None:
        self._signatures, self._most = signatures, most

    def __call__(self, request: Request) -> str | None:
        """Return the key's id; None for a request without a signature.

        raises: Unauthenticated, Overloaded while nonces cannot be kept, and 413 for a body that is too large
        """
        if not any(header in request.environ for header in HEADERS):
            return None
        if (larger := self._most.get(request.endpoint or "")) is not None:
            request.max_content_length = larger
        return self._signatures.key_id(received(request))


def signatures(services: Services) -> Signed:
    """Return what auth asks of each request."""
    lists = max(LARGEST, services.settings.max_body)
    uploads = services.batches.files.largest + FORM
    return Signed(services.signatures, {"files.Files": uploads, "batches.Batches": lists})


def received(request: Request) -> Received:
    """Return a request as it came."""
    environ = request.environ
    return Received(
        method=environ["REQUEST_METHOD"],
        scheme=environ["wsgi.url_scheme"],
        host=environ.get("HTTP_HOST", ""),
        target=target_of(environ.get("RAW_URI") or environ.get("REQUEST_URI") or ""),
        headers={name.lower(): value for name, value in request.headers.items()},
        body_hash=lambda: body_hash(request),
    )


def target_of(raw: str) -> str:
    """Return path and query as they stand in the request line, of a whole address too."""
    if raw.startswith("/"):
        return raw
    parts = urlsplit(raw)
    return raw[raw.find(parts.netloc) + len(parts.netloc) :] if parts.netloc else ""


def body_hash(request: Request) -> bytes:
    """Return SHA-256 of the body, which can be read again afterwards."""
    digest, kept = hashlib.sha256(), kept_until_answered()
    while piece := request.stream.read(PIECE):
        digest.update(piece)
        kept.write(piece)
    kept.seek(0)
    request.environ["wsgi.input"] = kept
    request.__dict__.pop("stream", None)  # werkzeug remembers it
    return digest.digest()


def kept_until_answered() -> IO[bytes]:
    """Return a file that is there until the answer to this request has been sent."""
    kept = tempfile.SpooledTemporaryFile(max_size=IN_MEMORY)

    @after_this_request
    def close_later(response: Response) -> Response:
        response.call_on_close(kept.close)
        return response

    return kept
