"""How a key is written: `lak_<id>_<secret><checksum>`, made so that a scanner finds it and a slip shows at once.

The id is public and sorts by time; the secret is 32 random bytes; the checksum (CRC-32) refuses what was cut or
mistyped before anything is looked up. No part has an underscore, so a double click marks all of it or one part.
"""

import re
import secrets
import string
import zlib
from typing import Final

from llmapi.core.ids import new_id

LETTERS: Final = string.digits + string.ascii_uppercase + string.ascii_lowercase
SECRET_BYTES: Final = 32
SECRET: Final = 43  # letters that hold 32 bytes
CHECKSUM: Final = 6  # letters that hold 32 bits
WRITTEN: Final = re.compile(rf"(lak_([0-9a-z]{{8,40}})_[0-9A-Za-z]{{{SECRET}}})([0-9A-Za-z]{{{CHECKSUM}}})", re.ASCII)


def new_key() -> tuple[str, str]:
    """Return a new key's public id and the key."""
    id = new_id("key")[4:20]  # twelve characters of time, four by chance
    return id, new_secret(id)


def new_secret(id: str) -> str:
    """Return a new key for an id that there is."""
    body = f"lak_{id}_{in_letters(int.from_bytes(secrets.token_bytes(SECRET_BYTES)), SECRET)}"
    return body + checksum(body)


def id_of(key: str) -> str | None:
    """Return the public id in a key; None when it is not written as one, or not completely."""
    found = WRITTEN.fullmatch(key)
    return found[2] if found is not None and checksum(found[1]) == found[3] else None


def checksum(body: str) -> str:
    """Return the letters a key ends with."""
    return in_letters(zlib.crc32(body.encode()), CHECKSUM)


def in_letters(number: int, width: int) -> str:
    """Return a number in base 62."""
    found = []
    for _ in range(width):
        number, digit = divmod(number, len(LETTERS))
        found.append(LETTERS[digit])
    return "".join(reversed(found))
