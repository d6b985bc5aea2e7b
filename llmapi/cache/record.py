"""An answer as it is kept, and as bytes for a server that other processes and other versions use too.

A packed record names its version: after an upgrade every old one is a miss, never read in a new meaning.
"""

import math
import struct
import sys
import zlib
from array import array
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import orjson

from llmapi.core.calls import Completion, TokenLogprobs, ToolCall, Usage
from llmapi.core.kept import About

VERSION: Final = 1  # raise it with every change of what is written below, or of what a field means
HEAD: Final = struct.Struct("<BI")  # version, CRC-32 of all that follows
FORM: Final = struct.Struct("<BI")  # flags, length of the JSON in the plain body
COMPRESSED, DOUBLES = 1, 2  # flags
WORTH_IT: Final = 1024  # bytes from which compressing pays
LARGEST: Final = 64 * 1_048_576  # bytes of a plain body; more is no answer


@dataclass(frozen=True, slots=True, kw_only=True)
class Record(About):
    """An answer with all that is known of it. `created` is in seconds since 1970, `ttl` in seconds."""

    completion: Completion
    provider: str
    model: str
    created: float
    ttl: float

    @property
    def asked(self) -> float:
        """When its asking began: what was declared bad since then may be in it."""
        return self.created - self.took

    @property
    def until(self) -> float:
        """When nobody wants it any more."""
        return self.created + self.ttl + self.stale


class Kept(NamedTuple):
    """A record as it comes out of a cache: the KeptAnswer of contracts.py."""

    record: Record
    age: float

    @property
    def completion(self) -> Completion:
        return self.record.completion

    @property
    def provider(self) -> str:
        return self.record.provider

    @property
    def model(self) -> str:
        return self.record.model

    @property
    def ttl(self) -> float:
        return self.record.ttl

    @property
    def about(self) -> About:
        return self.record


class Source(NamedTuple):
    """Who gave an answer, and how many seconds its caller wants it kept; None: as the cache does."""

    provider: str
    model: str
    wished: float | None = None


def recorded(completion: Completion, source: Source, about: About, *, created: float, ttl: float) -> Record:
    """Return a record that nobody can change: tuples all the way down, for many readers share it."""
    hard = Completion(
        completion.text,
        completion.usage,
        completion.finish,
        tuple(completion.logprobs),
        tuple(map(tuple, completion.vectors)),
        tuple(completion.tool_calls),
    )
    return Record(
        completion=hard,
        provider=source.provider,
        model=source.model,
        created=created,
        ttl=ttl,
        tenant=about.tenant,
        task=about.task,
        tags=tuple(about.tags),
        cost=about.cost,
        took=about.took,
        stale=about.stale,
    )


def pack(record: Record) -> bytes:
    """Return a record as bytes; above about a kilobyte compressed with zstandard, vectors as binary floats."""
    answer = record.completion
    words = orjson.dumps(
        [
            [answer.text, answer.usage, answer.finish, answer.logprobs, answer.tool_calls],
            [len(vector) for vector in answer.vectors],
            [record.provider, record.model, record.created, record.ttl],
            [record.tenant, record.task, record.tags, record.cost, record.took, record.stale],
        ]
    )
    numbers, flags = _floats(answer.vectors)
    body = words + numbers
    if len(body) >= WORTH_IT:
        import zstandard

        small = zstandard.ZstdCompressor(level=3).compress(body)
        if len(small) < len(body):
            body, flags = small, flags | COMPRESSED
    body = FORM.pack(flags, len(words)) + body
    return HEAD.pack(VERSION, zlib.crc32(body)) + body


def unpack(packed: bytes) -> Record | None:
    """Return the record in these bytes; None when they are of another version, or damaged."""
    try:
        version, check = HEAD.unpack_from(packed)
        if version != VERSION or zlib.crc32(packed[HEAD.size :]) != check:
            return None
        flags, length = FORM.unpack_from(packed, HEAD.size)
        body = packed[HEAD.size + FORM.size :]
        if flags & COMPRESSED:
            body = _plain(body)
        return _read(orjson.loads(body[:length]), body[length:], "d" if flags & DOUBLES else "f")
    except (struct.error, ValueError, TypeError, KeyError, IndexError):
        return None


def _plain(body: bytes) -> bytes:
    import zstandard

    try:
        if not 0 <= zstandard.frame_content_size(body) <= LARGEST:
            raise ValueError("no answer is as large as this says it is")
        return zstandard.ZstdDecompressor().decompress(body)
    except zstandard.ZstdError as error:
        raise ValueError("it cannot be decompressed") from error


def _floats(vectors: tuple[tuple[float, ...], ...]) -> tuple[bytes, int]:
    """Return numbers as little-endian floats, and the flag of their width: the narrow ones where nothing is lost."""
    if not vectors:
        return b"", 0
    every = [number for vector in vectors for number in vector]
    try:
        found, flags = array("f", every), 0
    except OverflowError:
        found, flags = array("d", every), DOUBLES
    if not flags and found.tolist() != every:
        found, flags = array("d", every), DOUBLES
    if sys.byteorder == "big":
        found.byteswap()
    return found.tobytes(), flags


def _read(parts: list[Any], numbers: bytes, width: str) -> Record:
    (text, usage, finish, logprobs, tool_calls), sizes, source, about = parts
    tokens = (
        TokenLogprobs(each["token"], _log(each["logprob"]), tuple((word, _log(chance)) for word, chance in each["top"]))
        for each in logprobs
    )
    completion = Completion(
        text,
        Usage(**usage),
        finish,
        tuple(tokens),
        _vectors(sizes, numbers, width),
        tuple(ToolCall(**each) for each in tool_calls),
    )
    tenant, task, tags, cost, took, stale = about
    known = About(tenant, task, tuple(tags), cost, took, stale)
    provider, model, created, ttl = source
    return recorded(completion, Source(provider, model), known, created=created, ttl=ttl)


def _log(chance: float | None) -> float:
    """Return a logarithm; JSON has no word for that of nothing."""
    return -math.inf if chance is None else chance


def _vectors(sizes: list[int], numbers: bytes, width: str) -> tuple[tuple[float, ...], ...]:
    found = array(width)
    found.frombytes(numbers)
    if sys.byteorder == "big":
        found.byteswap()
    if len(found) != sum(sizes):
        raise ValueError("vectors are missing")
    every, place, vectors = found.tolist(), 0, []
    for size in sizes:
        vectors.append(tuple(every[place : place + size]))
        place += size
    return tuple(vectors)
