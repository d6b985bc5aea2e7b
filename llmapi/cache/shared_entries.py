"""An entry of the cache by meaning as bytes, for a server that all workers use."""

import struct
from typing import Final, NamedTuple

import numpy as np
import orjson

from llmapi.cache.index import Vector
from llmapi.cache.record import Record, unpack
from llmapi.cache.shelf import packed_small

VERSION: Final = 2
HEAD: Final = struct.Struct("<BHI")  # version, numbers of the vector, bytes of the words


class Entry(NamedTuple):
    """A question with its answer; `cluster` names the answers that mean the same, `key` is the exact cache's."""

    text: str
    cluster: str
    vector: Vector
    record: Record
    key: str = ""


def packed(entry: Entry) -> bytes | None:
    """Return an entry as bytes; None for one a server cannot keep."""
    if (answer := packed_small(entry.record)) is None:
        return None
    words = orjson.dumps([entry.text, entry.cluster, entry.key])
    numbers = np.asarray(entry.vector, dtype="<f4").tobytes()
    return HEAD.pack(VERSION, len(entry.vector), len(words)) + words + numbers + answer


def unpacked(payload: bytes) -> Entry | None:
    """Return the entry in these bytes; None when they are of another version, or damaged."""
    try:
        version, width, length = HEAD.unpack_from(payload)
        place = HEAD.size + length
        if version != VERSION:
            return None
        text, cluster, key = orjson.loads(payload[HEAD.size : place])
        vector = np.frombuffer(payload, dtype="<f4", count=width, offset=place).astype(np.float32)
        record = unpack(payload[place + 4 * width :])
    except (struct.error, ValueError, TypeError):
        return None
    return None if record is None else Entry(str(text), str(cluster), vector, record, str(key))
