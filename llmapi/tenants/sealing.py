"""Secrets of tenants as the database keeps them: encrypted with the operator's key, each bound to its place."""

from collections.abc import Iterable

from llmapi.core.errors import BadSetting, Forbidden

APART = "\n"  # between the place and the secret; neither has one


class Unreadable(Exception):
    """It was sealed with a key the service has no more, or for another place."""


class Seal:
    """Encrypts with the newest key and reads with all of them (Fernet: AES-128-CBC and HMAC-SHA-256).

    keys: newest first, each 32 bytes in URL-safe base64; none: nothing can be sealed or read
    raises: BadSetting
    """

    def __init__(self, keys: Iterable[str] = ()) -> None:
        self._fernet = None
        known = list(keys)
        if known:
            from cryptography.fernet import Fernet, MultiFernet

            try:
                self._fernet = MultiFernet([Fernet(key) for key in known])
            except ValueError:
                raise BadSetting("secret_key: each key must be 32 bytes in URL-safe base64") from None

    @property
    def ready(self) -> bool:
        """Say whether there is a key."""
        return self._fernet is not None

    def close(self, secret: str, *place: str) -> str:
        """Return what the database keeps at a place; raises Forbidden while there is no key."""
        if self._fernet is None:
            raise Forbidden("this server keeps no secrets: its operator has not set LLMAPI_SECRET_KEY")
        return self._fernet.encrypt(APART.join((*place, secret)).encode()).decode()

    def open(self, kept: str, *place: str) -> str:
        """Return the secret kept at a place; raises Unreadable, also for one that was moved there."""
        if self._fernet is None:
            raise Unreadable
        from cryptography.fernet import InvalidToken

        try:
            found, _, secret = self._fernet.decrypt(kept).decode().rpartition(APART)
        except InvalidToken:
            raise Unreadable from None
        if found != APART.join(place):
            raise Unreadable
        return secret
