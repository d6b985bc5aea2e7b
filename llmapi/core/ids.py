"""Ids that sort by the time they were made.

They are names, not secrets: random's generator is enough (seeded by the system, anew in every forked process), and asks
the system for nothing.
"""

import re
import random
import time

ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"  # Crockford's base 32 in lower case
GOOD_ID = re.compile(r"^[A-Za-z0-9][A-Za-z0-9_.:-]{0,127}$")


def new_id(kind: str) -> str:
    """Return `kind` and 26 characters that sort by creation time, e.g. job_01ky….

    They are ULIDs (48 bits of milliseconds, 80 more) of which 10 more bits tell the time: within a process they sort as
    they were made, for making one takes longer than the microsecond they tell; 70 bits are random.
    """
    number = (time.time_ns() * 1024 // 1_000_000) << 70 | random.getrandbits(70)
    return kind + "_" + "".join(ALPHABET[number >> shift & 31] for shift in range(125, -1, -5))


def is_good_id(text: str) -> bool:
    """Say whether a caller's id may be kept, logged and sent on: 1-128 plain characters, no spaces, no controls."""
    return GOOD_ID.match(text) is not None
