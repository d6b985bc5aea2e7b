"""Which vendors the settings open, and which models their names stand for: a part of the composition root."""

from collections.abc import Collection, Mapping
from contextlib import suppress
from pathlib import Path

from llmapi.core.calls import Target
from llmapi.core.contracts import Provider
from llmapi.core.errors import BadSetting, ValidationFailed
from llmapi.providers.anthropic import Anthropic
from llmapi.providers.catalog import Catalog
from llmapi.providers.gemini import Gemini
from llmapi.providers.local import open_local
from llmapi.providers.openai import OpenAIFormat
from llmapi.providers.routes import of_aliases
from llmapi.providers.rows import VENDORS, Model, Vendor
from llmapi.providers.transport import Transport
from llmapi.settings import Settings

SMOLLM = "local/smollm2-135m-instruct"
MINILM = "local/all-minilm-l6-v2"
OWN_FORMAT = ("local", "gemini", "anthropic")


def open_providers(settings: Settings, transport: Transport, folder: Path) -> dict[str, Provider]:
    """Return the embedded model and every vendor, also those without a key: a caller may bring one of his own."""
    providers: dict[str, Provider] = {}
    if settings.local:
        threads = settings.local_threads or None
        providers["local"] = open_local(
            folder, slots=settings.local_slots, threads=threads, loading=transport.loading
        )
    google, claude = settings.google_api_key.get_secret_value(), settings.anthropic_api_key.get_secret_value()
    providers["gemini"] = Gemini(google, settings.gemini_base_url or None, transport=transport)
    providers["anthropic"] = Anthropic(claude, settings.anthropic_base_url or None, transport=transport)
    for vendor in vendors_of(settings):
        address = settings.openai_base_url if vendor.name == "openai" else ""
        providers[vendor.name] = OpenAIFormat(
            vendor.name,
            key_of(vendor, settings),
            address or vendor.base_url,
            transport=transport,
            names=vendor.names,
            keyless=not vendor.key_name,
        )
    return providers


def configured(settings: Settings, providers: Mapping[str, Provider]) -> dict[str, Provider]:
    """Return those that can be asked without a key of the caller's."""
    rows = {vendor.name: vendor for vendor in (*VENDORS, *vendors_of(settings))}
    return {name: each for name, each in providers.items() if name == "local" or is_usable(rows[name], settings)}


def is_usable(vendor: Vendor, settings: Settings) -> bool:
    """Say whether a vendor's key is set; one that needs none must be named somewhere."""
    return bool(key_of(vendor, settings)) or (not vendor.key_name and is_wanted(vendor.name, settings))


def key_of(vendor: Vendor, settings: Settings) -> str:
    """Return the key the settings have for a vendor, or "" """
    known = {
        "openai": settings.openai_api_key,
        "gemini": settings.google_api_key,
        "anthropic": settings.anthropic_api_key,
    }
    if vendor.name in known:
        return known[vendor.name].get_secret_value()
    return settings.secret(vendor.key_name) if vendor.key_name else ""


def key_takers(settings: Settings) -> frozenset[str]:
    """Return the vendors that a tenant may have a key of its own for."""
    return frozenset(vendor.name for vendor in (*VENDORS, *vendors_of(settings)) if vendor.key_name)


def vendors_of(settings: Settings) -> list[Vendor]:
    """Return the vendors that speak OpenAI's format: the known ones, and those of llmapi.toml, which win."""
    own = {
        name: Vendor(name, row.base_url, row.key_name, frozenset(row.abilities))
        for name, row in settings.vendors.items()
    }
    known = {vendor.name: vendor for vendor in VENDORS if vendor.name not in OWN_FORMAT}
    return list({**known, **own}.values())


def is_wanted(name: str, settings: Settings) -> bool:
    """Say whether a vendor without a key was named: servers on this machine are not assumed to be there."""
    named = [*settings.aliases.values(), *settings.models]
    named += [each.model for route in settings.routes.values() for each in route.candidates]
    return name in settings.vendors or any(target.startswith(f"{name}/") for target in named)


def open_models(settings: Settings, usable: Collection[str]) -> Catalog:
    """Return the catalog with the five aliases that always exist; `usable` are the vendors that can be asked."""
    own = [vendor for vendor in vendors_of(settings) if vendor.name in settings.vendors]
    routes = of_aliases({**usual_aliases(settings, usable), **settings.aliases})
    routes |= {name: row.route() for name, row in settings.routes.items()}
    return Catalog(routes, usable, vendors=own, models=models_of(settings), defaults=settings.tenants)


def chosen(settings: Settings, models: Catalog) -> list[Target]:
    """Return the models that aliases, routes and model rows name, each once, as far as they can be asked."""
    found: dict[Target, None] = {}
    for name in (*settings.aliases, *settings.routes, *settings.models, "default"):
        with suppress(ValidationFailed):
            found.update(dict.fromkeys(models.resolve(name).targets))
    return list(found)


def usual_aliases(settings: Settings, usable: Collection[str]) -> dict[str, str]:
    """Return what the five names stand for when nobody says: Gemini, else OpenAI, else Anthropic, else the embedded."""
    if "gemini" in usable or not usable:
        chat, embed = f"gemini/{settings.gemini_model}", "gemini/gemini-embedding-001"
    elif "openai" in usable:
        chat, embed = f"openai/{settings.openai_model}", "openai/text-embedding-3-small"
    else:
        chat, embed = SMOLLM, MINILM
        if "anthropic" in usable:
            chat = f"anthropic/{settings.anthropic_model}"
    usual = {"default": chat, "text": "default", "code": "default", "classify": "default", "embed": embed}
    if "local" in usable:
        usual |= {"embed": MINILM} | ({"classify": MINILM} if chat == SMOLLM else {})
    return usual


def models_of(settings: Settings) -> list[Model]:
    """Return the rows of llmapi.toml's models; raises BadSetting for one without its vendor's name."""
    rows = []
    for id, row in settings.models.items():
        provider, _, name = id.partition("/")
        if not name:
            raise BadSetting(f"models: {id} must be written as provider/model")
        abilities = None if row.abilities is None else frozenset(row.abilities)
        rows.append(Model(provider, name, row.context, row.description, abilities))
    return rows
