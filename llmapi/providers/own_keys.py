"""Clients for the keys that callers bring along: a few, so that a key used again does not cost a client again."""

import hmac
import secrets
import threading
from collections.abc import Callable
from typing import Any

from cachetools import LRUCache

from llmapi.core.calls import Call
from llmapi.core.errors import LlmApiError, ProviderInvalid, ProviderThrottled
from llmapi.providers.failures import BAD_KEY
from llmapi.providers.outcomes import KEY_REFUSED

ENTRIES = 512  # clients kept, 12 KB each; to make one takes 5 ms
LONGEST = 1024  # characters of a key; none of any vendor's is near it


class OwnClients:
    """The clients of the keys used last. A key is known by a keyed hash of it: nothing here shows one.

    A client that drops out is only forgotten, for a call may still be using it.
    """

    def __init__(self, make: Callable[[str], Any], entries: int = ENTRIES) -> None:
        self._make = make
        self._secret = secrets.token_bytes(32)
        self._lock = threading.Lock()
        self._kept: LRUCache[bytes, Any] = LRUCache(entries)

    def of(self, key: str) -> Any:
        """Return the client of a key; raises ProviderInvalid for what cannot be one."""
        if not is_possible(key):
            raise not_accepted()
        name = hmac.digest(self._secret, key.encode(), "sha256")
        with self._lock:
            kept = self._kept.get(name)
        if kept is None:
            made = self._make(key)  # takes its time, and others should not wait for it
            with self._lock:
                kept = self._kept.setdefault(name, made)
        return kept

    def clear(self) -> None:
        """Forget them all."""
        with self._lock:
            self._kept.clear()


def is_possible(key: str) -> bool:
    """Say whether a key can be sent as a header at all; the libraries below quote one that cannot in their errors."""
    return 0 < len(key) <= LONGEST and key.isascii() and key.isprintable() and key == key.strip()


def not_accepted(status: int = 401) -> ProviderInvalid:
    return ProviderInvalid("The provider does not accept the key you sent.", provider_status=status)


def refuses_key(error: LlmApiError) -> bool:
    """Say whether a provider refused the key and not the question. Google says so with status 400."""
    if type(error) is not ProviderInvalid:
        return False
    return error.details.get("provider_status") in KEY_REFUSED or BAD_KEY.search(str(error.__cause__)) is not None


def is_of_the_key(error: LlmApiError, call: Call) -> bool:
    """Say whether a call failed by the caller's own key: it is refused, or its quota is used. No word of the vendor."""
    return bool(call.provider_key) and (isinstance(error, ProviderThrottled) or refuses_key(error))


def told_to(call: Call, error: LlmApiError) -> LlmApiError:
    """Return an error as the caller may read it: whose key was refused."""
    if not call.provider_key or not refuses_key(error):
        return error
    status = error.details.get("provider_status")
    return not_accepted(status if status in KEY_REFUSED else 401)
