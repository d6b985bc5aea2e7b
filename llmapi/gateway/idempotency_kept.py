"""The answer of a request with a key, as it is given again: the same status and bytes, and the headers that matter."""

import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

SMALL = 4096  # bytes not worth packing


@dataclass(frozen=True, slots=True)
class Kept:
    """An answer; `body` is None when it was too large to be kept."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes | None


def columns_of(kept: Kept) -> dict[str, Any]:
    """Return an answer as its columns hold it."""
    columns = {"status": kept.status, "headers": orjson.dumps(kept.headers).decode()}
    if kept.body is None:
        return {**columns, "body": None, "encoding": "lost"}
    if len(kept.body) <= SMALL:
        return {**columns, "body": kept.body, "encoding": "plain"}
    return {**columns, "body": zlib.compress(kept.body, 1), "encoding": "zlib"}


def kept_in(columns: Mapping[str, Any]) -> Kept:
    """Return the answer that columns hold."""
    body = columns["body"]
    if columns["encoding"] == "zlib":
        body = zlib.decompress(body)
    headers = tuple((name, value) for name, value in orjson.loads(columns["headers"]))
    return Kept(columns["status"], headers, None if body is None else bytes(body))
