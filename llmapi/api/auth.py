"""Who is asking, and whether they may. `PUBLIC` views need nobody; all others a key with the scope scopes.py names.

Two kinds of keys: static ones of the settings, the operator's, with all scopes; and those of the keyring. A request
says which by `Authorization: Bearer` or `X-API-Key`, or by a signature instead. `X-User-ID` names the user of a caller
it is booked on: it is believed from static keys and from keys that may name one, and ignored from all others.
"""

import hashlib
import hmac
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Protocol

from flask import Flask, Request, current_app, g, request
from pydantic import SecretStr

from llmapi.api import scopes
from llmapi.core.errors import Forbidden, KeyInAddress, Unauthenticated, ValidationFailed
from llmapi.core.identity import Identity, Payer
from llmapi.tenants.holders import KeyHolder
from llmapi.tenants.keys import Keyring

PUBLIC = frozenset({"probes.Livez", "probes.Readyz", "docs.page", "docs.document", "docs.assets", "front.Root"})
IN_QUERY = ("api_key", "apikey", "key", "access_token", "token")
DEFAULT_TENANT = "default"
LOOPBACK_HOSTS = frozenset({"127.0.0.1", "localhost", "[::1]"})
USER = "X-User-ID"
GOOD_USER = re.compile(r"[!-~](?:[ -~]{0,126}[!-~])?")
NAME = "llmapi-callers"
REFUSED = "send a valid key as `Authorization: Bearer` or `X-API-Key`"


class Signatures(Protocol):
    """Requests that are signed instead of carrying a key."""

    def __call__(self, request: Request) -> str | None:
        """Return the id of the key that signed; None for a request without a signature; raises Unauthenticated."""
        ...


class StaticKeys:
    """Keys given by setting, kept and compared as hashes only."""

    def __init__(self, keys: Iterable[SecretStr]) -> None:
        self._known = [self._row(key.get_secret_value()) for key in keys]
        self._by_id = {identity.payer.key: identity for _, identity in self._known}

    @staticmethod
    def _row(key: str) -> tuple[bytes, Identity]:
        tenant, _, secret = key.rpartition(":")
        digest = hashlib.sha256(secret.encode()).digest()
        id = digest.hex()[:12]
        return digest, Identity(tenant or DEFAULT_TENANT, f"key-{id}", Payer(key=id))

    def identity(self, key: str) -> Identity | None:
        """Return whose key this is. Every known key is compared, so that time tells nothing."""
        digest = hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()
        found = None
        for known, identity in self._known:
            if hmac.compare_digest(known, digest):
                found = identity
        return found

    def named(self, id: str) -> Identity | None:
        """Return whom the key of an id stands for."""
        return self._by_id.get(id)


class Callers:
    """Everybody who may call: holders of static keys and of the keyring's."""

    def __init__(self, static: StaticKeys, keyring: Keyring, signatures: Signatures | None = None) -> None:
        self._static, self._keyring, self._signatures = static, keyring, signatures

    def of_request(self) -> Identity:
        """Return who sends this request; raises Unauthenticated, in the same words whatever is wrong with the key."""
        if self._signatures is not None and (signer := self._signatures(request)) is not None:
            return self._of(self._keyring.holder(signer, request.remote_addr or ""))
        key = shown_key()
        if (static := self._static.identity(key)) is not None:
            return with_user(self._active(static))
        holder = self._keyring.identify(key, request.remote_addr or "")
        if holder is not None and holder.requires_signature:
            raise Unauthenticated("this key signs requests; it is not sent")
        return self._of(holder)

    def named(self, id: str, user: str, address: str) -> Identity:
        """Return whom a key stands for now, by its id, for who proved before that it is theirs; or Unauthenticated."""
        if (static := self._static.named(id)) is not None:
            return replace(self._active(static), payer=replace(static.payer, user=user))
        holder = self._keyring.holder(id, address)
        if holder is None:
            raise Unauthenticated(REFUSED)
        return holder.named(user) if user else holder.identity

    def _active(self, static: Identity) -> Identity:
        if static.tenant in self._keyring.suspended:
            raise Unauthenticated(REFUSED)
        return static

    def _of(self, holder: KeyHolder | None) -> Identity:
        if holder is None:
            raise Unauthenticated(REFUSED)
        return with_user(holder.identity) if holder.may_name_user else holder.identity


def install(
    app: Flask,
    *,
    required: bool,
    callers: Callers,
    hosts: Iterable[str],
    others: Mapping[str, Callable[[], Identity | None]] = MappingProxyType({}),
) -> None:
    """Ask each request who it is, and whether it may, before anything is done for it.

    others: by endpoint another way to tell than a key; None from it: the key is asked for
    """
    served = LOOPBACK_HOSTS | set(hosts)
    app.extensions[NAME] = callers

    def know_caller() -> None:
        if request.query_string and any(name in request.args for name in IN_QUERY):
            raise KeyInAddress("send the key in a header, and replace the one that stood in the address")
        endpoint = request.endpoint
        if endpoint in PUBLIC or is_preflight():
            return
        other = others.get(endpoint or "")
        known = other() if other else None
        if known is None:
            known = callers.of_request() if required else anybody(served)
        g.identity = known
        if endpoint is not None:
            scopes.need(endpoint, request.method, known.scopes)

    app.before_request(know_caller)


def callers_of_app() -> Callers:
    """Return who may call this application."""
    found: Callers = current_app.extensions[NAME]
    return found


def is_preflight() -> bool:
    """Say whether a browser asks what another site's page may send: it sends no key then, and no view answers."""
    return request.method == "OPTIONS" and "HTTP_ACCESS_CONTROL_REQUEST_METHOD" in request.environ


def anybody(served: Collection[str]) -> Identity:
    """Return who calls a server without keys; raises Forbidden for whom it is not meant: other machines, and pages of
    other sites that had their name point at this machine (DNS rebinding)."""
    address = request.remote_addr or ""
    if not address.startswith(("127.", "::1")):
        raise Forbidden("while keys are not required, only this machine is served")
    if host_name(request.host) not in served:
        raise Forbidden("while keys are not required, only local host names are served")
    return with_user(Identity(DEFAULT_TENANT, address))


def shown_key() -> str:
    """Return the key in the headers, or "" """
    scheme, _, bearer = request.headers.get("Authorization", "").partition(" ")
    return bearer.strip() if scheme.lower() == "bearer" else request.headers.get("X-API-Key", "")


def with_user(identity: Identity) -> Identity:
    """Return the identity with the user the request names; raises ValidationFailed for a name that is not good."""
    user = request.environ.get("HTTP_X_USER_ID")
    if user is None:
        return identity
    if not GOOD_USER.fullmatch(user):
        raise ValidationFailed("A header is not valid.", fields={USER: ["1 to 128 printable ASCII characters."]})
    return replace(identity, payer=replace(identity.payer, user=user))


def host_name(host: str) -> str:
    """Return the host without its port."""
    return host.rsplit(":", 1)[0] if not host.endswith("]") else host
