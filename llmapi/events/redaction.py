"""What must never be read in a log is taken out at the sink: by the name of its field, by its look, and by its value.

By value: the service's own secrets, and those a request brought along (`hide`), as they are, URL-encoded and
JSON-escaped. By look: keys of known make, wherever they turn up, in a trace or in somebody's message.
"""

import json
import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Any, Final
from urllib.parse import quote, quote_plus

from structlog.contextvars import bind_contextvars, get_contextvars

HIDDEN: Final = "***"
OF_REQUEST: Final = "hidden_values"  # the context variable; gone when the next request clears the context
MOST: Final = 100  # spellings
SHORTEST: Final = 6  # a shorter value would be found in innocent words

SECRET_FIELDS: Final = frozenset(
    "authorization proxy_authorization cookie set_cookie api_key apikey x_api_key x_provider_key x_goog_api_key "
    "password passwd secret client_secret token access_token refresh_token id_token private_key pepper".split()
)
KEYS: Final = re.compile(
    rb"AIza[0-9A-Za-z_\-]{16,}"
    rb"|(?<![A-Za-z0-9])(?:sk|gsk|xai|pplx|whsec)[-_][A-Za-z0-9_\-]{16,}"
    rb"|(?<![A-Za-z0-9])la[ks]_[A-Za-z0-9_\-]{8,}"
)
BEARER: Final = re.compile(rb"(?i)(bearer(?:\s|%20|\+)+)[A-Za-z0-9._~+/=%\-]{6,}")
ADDRESS: Final = re.compile(rb"(://[^/\s:@\"\\]*:)[^/\s@\"\\]+(?=@)")  # the password in scheme://user:password@host
NAMED: Final = re.compile(
    rb"(?i)((?:api[_-]?key|provider[_-]?key|authorization|passw(?:or)?d|secret)[\\\"']{0,7}\s*(?:[:=]|%3D|%3A)\s*"
    rb"[\\\"']{0,7}(?:(?:basic|digest|bearer)(?:\s|%20|\+)+)?)"
    rb"(?!\*\*\*|null|true|false|[0-9.]+[,}\]])[^\s\"'\\&,;}\]]+"
)
LOOKS: Final = (  # a mark in lower case without which the pattern cannot match, the pattern, what is left of it
    *((mark, KEYS, b"***") for mark in (b"aiza", b"sk-", b"sk_", b"xai", b"pplx", b"whsec", b"lak_", b"las_")),
    (b"bearer", BEARER, rb"\1***"),
    (b"://", ADDRESS, rb"\1***"),
    *((mark, NAMED, rb"\1***") for mark in (b"key", b"passw", b"authoriz", b"secret")),
)
PLAIN: Final = frozenset({str, int, float, bool, type(None)})


def hide(secret: str) -> None:
    """Let a value of this request appear in none of its log lines; threads that never end keep the last ones."""
    known: tuple[bytes, ...] = get_contextvars().get(OF_REQUEST, ())
    fresh = tuple(form for form in spellings([secret]) if form not in known)
    bind_contextvars(**{OF_REQUEST: (known + fresh)[-MOST:]})


def spellings(secrets: Iterable[str]) -> tuple[bytes, ...]:
    """Return all ways in which values may be written in a line, longest first."""
    found: set[str] = set()
    for secret in secrets:
        if len(secret) >= SHORTEST:
            escaped = (json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1])
            quoted = (quote(secret), quote(secret, safe=""), quote_plus(secret))
            found.update((secret, repr(secret)[1:-1], *quoted, *escaped))
    twice = {json.dumps(form, ensure_ascii=False)[1:-1] for form in found}  # a string within a string
    return tuple(form.encode(errors="replace") for form in sorted(found | twice, key=len, reverse=True))


def without_secret_fields(value: Any, depth: int = 6) -> Any:
    """Return a value in which what stands under the name of a secret is hidden, however deep."""
    if type(value) in PLAIN or not depth:
        return value
    if isinstance(value, dict):
        hidden = {}
        for key, inner in value.items():
            if names_a_secret(key):
                hidden[key] = HIDDEN
            else:
                hidden[key] = inner if type(inner) in PLAIN else without_secret_fields(inner, depth - 1)
        return hidden
    if isinstance(value, list | tuple):
        return [without_secret_fields(inner, depth - 1) for inner in value]
    return value


def without_secrets(line: bytes, values: Iterable[bytes]) -> bytes:
    """Return a rendered line without these values and without anything that looks like a key."""
    for value in values:
        if value in line:
            line = line.replace(value, b"***")
    lower = line.lower()
    for mark, pattern, instead in LOOKS:  # to look for a mark costs a hundredth of a regular expression
        if mark in lower:
            line = pattern.sub(instead, line)
    return line


@lru_cache(512)
def names_a_secret(key: Any) -> bool:
    """Say whether what stands under this name is a secret; remembered, for names repeat with every line."""
    return isinstance(key, str) and key.lower().replace("-", "_") in SECRET_FIELDS
