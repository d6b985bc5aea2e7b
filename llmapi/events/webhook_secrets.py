"""The secrets webhooks are signed with: made, kept, used."""

import base64
import secrets
from collections.abc import Iterable
from datetime import datetime

from standardwebhooks import Webhook

from llmapi.core.errors import BadSetting

PREFIX = "whsec_"
BYTES = 32


class SecretUnreadable(Exception):
    """It was sealed with another key than the one the service has now."""


class Seal:
    """Encrypts secrets for the database with the operator's Fernet key; without one they are kept as they are.

    raises: BadSetting for a key that is none
    """

    def __init__(self, key: str = "") -> None:
        self._fernet = None
        if key:
            from cryptography.fernet import Fernet

            try:
                self._fernet = Fernet(key)
            except ValueError:
                raise BadSetting("the key for webhook secrets must be 32 bytes in URL-safe base64") from None

    def close(self, secret: str) -> str:
        """Return what the database keeps."""
        return secret if self._fernet is None else self._fernet.encrypt(secret.encode()).decode()

    def open(self, kept: str) -> str:
        """Return the secret; one kept before there was a key is readable still. Raises SecretUnreadable."""
        if kept.startswith(PREFIX):
            return kept
        if self._fernet is None:
            raise SecretUnreadable
        from cryptography.fernet import InvalidToken

        try:
            return self._fernet.decrypt(kept).decode()
        except InvalidToken:
            raise SecretUnreadable from None


def new_secret() -> str:
    """Return a fresh secret in the form of Standard Webhooks."""
    return PREFIX + base64.b64encode(secrets.token_bytes(BYTES)).decode()


def signatures(known: Iterable[str], message: str, at: datetime, body: str) -> str:
    """Return the webhook-signature header: one signature for each secret, the current one first."""
    return " ".join(Webhook(secret).sign(message, at, body) for secret in known)
