"""The parts that know who asks, and what he may do."""

from typing import NamedTuple

from llmapi.db.engine import reading
from llmapi.db.kept_secrets import kept_secret
from llmapi.events.redaction import hide
from llmapi.gateway.route import StoredKeys
from llmapi.parts.base import Base
from llmapi.tenants.key_rows import any_active
from llmapi.tenants.keys import Keyring
from llmapi.tenants.nonces import Nonces
from llmapi.tenants.plans import Plans
from llmapi.tenants.provider_keys import ProviderKeys
from llmapi.tenants.sealing import Seal
from llmapi.tenants.signing import Signatures, SigningSecrets
from llmapi.tenants.tenants import Tenants
from llmapi.tenants.under_way import UnderWay
from llmapi.vendors import key_takers


class Known(NamedTuple):
    """Keys and tenants, how requests are signed, plans, and tenants' own keys at providers."""

    keyring: Keyring
    tenants: Tenants
    signatures: Signatures
    plans: Plans
    provider_keys: ProviderKeys
    under_way: UnderWay


def open_known(base: Base) -> Known:
    """Return them; where no pepper is set, one is made in the data folder at the first start. Raises BadSetting."""
    settings, engine = base.settings, base.engine
    keyring = Keyring(engine, pepper(base))
    seal = Seal(key.get_secret_value() for key in settings.secret_key)
    stored = ProviderKeys(engine, seal, providers=key_takers(settings))
    signing = SigningSecrets(engine, seal)
    stored.check()
    signing.check()
    signatures = Signatures(signing, Nonces(engine))
    tenants = Tenants(engine, changed=keyring.changed)
    return Known(keyring, tenants, signatures, Plans(engine), stored, UnderWay(engine))


def pepper(base: Base) -> bytes:
    """Return what keys are hashed with; raises BadSetting where a new one would end all the keys there are."""
    with reading(base.engine) as connection:  # before the look for the file: it was there when the first key was made
        kept = "keys" if any_active(connection) else ""
    return kept_secret("key_pepper", base.settings.key_pepper.get_secret_value(), base.folder, needed_for=kept)


def hidden(stored: ProviderKeys) -> StoredKeys:
    """Return tenants' stored keys, or "", as the gateway asks for them: no log line shows one in use."""

    def key(tenant: str, provider: str) -> str:
        if (found := stored.get(tenant, provider)) is None:
            return ""
        hide(found.get_secret_value())
        return found.get_secret_value()

    return key
