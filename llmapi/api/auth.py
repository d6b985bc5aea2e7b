"""Who is asking. Each endpoint says who may call it: `public` ones are listed here, all others need an identity."""

import hashlib
import hmac
from collections.abc import Callable, Collection, Iterable, Mapping
from types import MappingProxyType

from flask import Flask, g, request
from pydantic import SecretStr

from llmapi.core.errors import Forbidden, KeyInAddress, Unauthenticated
from llmapi.core.identity import Identity

PUBLIC = frozenset({"probes.Livez", "probes.Readyz", "docs.page", "docs.document", "docs.assets", "front.Root"})
IN_QUERY = ("api_key", "apikey", "key", "access_token", "token")
DEFAULT_TENANT = "default"
LOOPBACK_HOSTS = frozenset({"127.0.0.1", "localhost", "[::1]"})


class StaticKeys:
    """Keys given by setting, kept and compared as hashes only."""

    def __init__(self, keys: Iterable[SecretStr]) -> None:
        self._known = [self._row(key.get_secret_value()) for key in keys]

    @staticmethod
    def _row(key: str) -> tuple[bytes, Identity]:
        tenant, _, secret = key.rpartition(":")
        digest = hashlib.sha256(secret.encode()).digest()
        return digest, Identity(tenant or DEFAULT_TENANT, f"key-{digest.hex()[:12]}")

    def identity(self, key: str) -> Identity | None:
        """Return whose key this is. Every known key is compared, so that time tells nothing."""
        digest = hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()
        found = None
        for known, identity in self._known:
            if hmac.compare_digest(known, digest):
                found = identity
        return found


def install(
    app: Flask,
    *,
    required: bool,
    keys: StaticKeys,
    hosts: Iterable[str],
    others: Mapping[str, Callable[[], Identity | None]] = MappingProxyType({}),
) -> None:
    """Ask each request who it is before anything is done for it.

    others: by endpoint another way to tell than a key; None from it: the key is asked for
    """
    served = LOOPBACK_HOSTS | set(hosts)

    def know_caller() -> None:
        if request.query_string and any(name in request.args for name in IN_QUERY):
            raise KeyInAddress("send the key in a header, and replace the one that stood in the address")
        if request.endpoint in PUBLIC:
            return
        other = others.get(request.endpoint or "")
        known = other() if other else None
        if known is not None:
            g.identity = known
        elif required:
            g.identity = authenticated(keys)
        else:
            refuse_strangers(served)
            g.identity = Identity(DEFAULT_TENANT, request.remote_addr or "local")

    app.before_request(know_caller)


def refuse_strangers(served: Collection[str]) -> None:
    """Raise Forbidden for whom a server without keys is not meant: other machines, and pages of other sites that
    had their name point at this machine (DNS rebinding)."""
    if not (request.remote_addr or "").startswith(("127.", "::1")):
        raise Forbidden("while keys are not required, only this machine is served")
    if host_name(request.host) not in served:
        raise Forbidden("while keys are not required, only local host names are served")


def authenticated(keys: StaticKeys) -> Identity:
    """Return who the key in the headers belongs to; raises Unauthenticated, the same for no key and a wrong one."""
    scheme, _, bearer = request.headers.get("Authorization", "").partition(" ")
    key = bearer.strip() if scheme.lower() == "bearer" else request.headers.get("X-API-Key", "")
    found = keys.identity(key)
    if found is None:
        raise Unauthenticated("send a valid key as `Authorization: Bearer` or `X-API-Key`")
    return found


def host_name(host: str) -> str:
    """Return the host without its port."""
    return host.rsplit(":", 1)[0] if not host.endswith("]") else host
