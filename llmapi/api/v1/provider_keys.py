"""/v1/provider-keys: a tenant's own keys with providers; /v1/keys/{id}/signing-secret: what a key signs with."""

from typing import Any

from flask import Response
from flask.views import MethodView

from llmapi.api.context import identity, services
from llmapi.api.openapi import examples_of
from llmapi.api.parsing import Blueprint
from llmapi.api.private import as_json, never_kept
from llmapi.api.schemas.provider_keys import ProviderKey, ProviderKeyList, ProviderKeyRequest, SigningSecret
from llmapi.api.wishes import checked_key
from llmapi.core.clock import rfc3339
from llmapi.core.errors import NotFound
from llmapi.tenants.provider_keys import StoredKey

bp = Blueprint("provider_keys", __name__, url_prefix="/v1/provider-keys", description="Your own keys with providers")
signing = Blueprint("signing_secrets", __name__, url_prefix="/v1/keys", description="What keys sign requests with")
never_kept(bp)
never_kept(signing)


@bp.route("")
class ProviderKeys(MethodView):
    @bp.response(200, ProviderKeyList())
    def get(self) -> Response:
        """List the keys you have stored, without the keys."""
        return as_json({"data": [shown(stored) for stored in services().provider_keys.stored(identity().tenant)]})


@bp.route("/<string:provider>")
class OneProviderKey(MethodView):
    @bp.arguments(ProviderKeyRequest(), examples=examples_of("provider_keys"))
    @bp.response(200, ProviderKey())
    def put(self, wanted: dict[str, Any], provider: str) -> Response:
        """Store your key with a provider: your calls are made with it, and the provider bills you for them."""
        key = checked_key(wanted["key"], "key")
        return as_json(shown(services().provider_keys.put(identity().tenant, provider, key)))

    @bp.response(204)
    def delete(self, provider: str) -> Response:
        """Forget your key with a provider."""
        services().provider_keys.delete(identity().tenant, provider)
        return Response(status=204)


@signing.route("/<string:key_id>/signing-secret")
class OneSigningSecret(MethodView):
    @signing.response(200, SigningSecret())
    def post(self, key_id: str) -> Response:
        """Make a new secret that this key signs requests with. It is told this once; the one before it ends."""
        need_lesser(key_id)
        secret = services().signatures.secrets.issue(identity().tenant, key_id)
        return as_json({"key_id": key_id, "secret": secret})

    @signing.response(204)
    def delete(self, key_id: str) -> Response:
        """Let this key sign no more, everywhere within five seconds."""
        need_lesser(key_id)
        if not services().signatures.secrets.revoke(identity().tenant, key_id):
            raise NotFound("this key has no signing secret")
        return Response(status=204)


def need_lesser(key_id: str) -> None:
    """Raise NotFound unless the key is the tenant's, Forbidden if it may do more than who asks: to sign is to be it."""
    services().keyring.get_within(identity().tenant, key_id, identity().scopes)


def shown(stored: StoredKey) -> dict[str, Any]:
    """Return a stored key as its owner sees it."""
    return {"provider": stored.provider, "ending": stored.ending, "created": rfc3339(stored.created)}
