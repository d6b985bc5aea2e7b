"""Requests that are signed instead of carrying a key: read as they came over the wire, before anything is decoded."""

import hashlib
import tempfile
from collections.abc import Callable, Mapping
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


def signatures(services: Services) -> Callable[[Request], str | None]:
    """Return what auth asks of each request: the id of the key that signed it, None for one without a signature."""
    lists = max(LARGEST, services.settings.max_body)
    most = {"files.Files": services.batches.files.largest + FORM, "batches.Batches": lists}
    return lambda request: signed(request, services.signatures, most)


def signed(request: Request, signatures: Signatures, most: Mapping[str, int]) -> str | None:
    """Return the id of the key that signed a request; None for a request without a signature.

    most: bytes of a body, by endpoint, where it is not the usual
    raises: Unauthenticated, Overloaded, and PayloadTooLarge's 413 for a body that is
    """
    if not any(header in request.environ for header in HEADERS):
        return None
    if (larger := most.get(request.endpoint or "")) is not None:
        request.max_content_length = larger
    return signatures.key_id(received(request))


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
    digest, kept = hashlib.sha256(), tempfile.SpooledTemporaryFile(max_size=IN_MEMORY)
    while piece := request.stream.read(PIECE):
        digest.update(piece)
        kept.write(piece)
    kept.seek(0)
    read_again(request, kept)
    return digest.digest()


def read_again(request: Request, kept: IO[bytes]) -> None:
    """Let views read the body from where it is kept, until the answer has been sent."""
    request.environ["wsgi.input"] = kept
    request.__dict__.pop("stream", None)  # werkzeug remembers it

    @after_this_request
    def close_later(response: Response) -> Response:
        response.call_on_close(kept.close)
        return response
