"""What a request's headers ask for beside its body: how long to wait, whose key to use, what it repeats."""

import math
import re

from flask import request

from llmapi.core.errors import ValidationFailed
from llmapi.events.redaction import hide

TIMEOUT = "X-Request-Timeout"
PROVIDER_KEY = "X-Provider-Key"
REPEATS = "x-stainless-retry-count"  # sent by the official OpenAI SDK and its kin: 0, 1, 2
GOOD_KEY = re.compile(r"[!-~]{8,512}\Z")


def time_limit() -> float | None:
    """Return the most seconds the caller wants to wait (X-Request-Timeout), or None."""
    told = request.headers.get(TIMEOUT)
    if told is None:
        return None
    try:
        seconds = float(told)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds < math.inf:
        raise unfit(TIMEOUT, "Send a number of seconds above 0.")
    return seconds


def provider_key() -> str:
    """Return the caller's own key for the provider, which no log line of this request shows from now on, or "" """
    key = request.headers.get(PROVIDER_KEY, "")
    return checked_key(key, PROVIDER_KEY) if key else ""


def checked_key(key: str, field: str) -> str:
    """Return a key that came under a name, hidden from the log; raises ValidationFailed naming it."""
    hide(key)
    if not GOOD_KEY.match(key):
        raise unfit(field, "This cannot be a key: 8 to 512 printable ASCII characters without spaces.")
    return key


def repeated() -> bool:
    """Say whether the caller's library sends this request again because it lost the answer."""
    return request.headers.get(REPEATS, "0").strip() not in ("", "0")


def unfit(name: str, what: str) -> ValidationFailed:
    """Return the error for a header that makes no sense."""
    return ValidationFailed("A header is not valid.", fields={name: [what]})
