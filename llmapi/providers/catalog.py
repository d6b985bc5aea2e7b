"""Which model a name stands for, and what it can do."""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from llmapi.core.calls import Choice, Target
from llmapi.core.errors import BadSetting, ValidationFailed
from llmapi.core.routing import ORDERED
from llmapi.providers.routes import Route
from llmapi.providers.rows import EMBEDDINGS, LESS, MODELS, PREFIXES, VENDORS, Model, Vendor

ALWAYS = ("default", "text", "code", "classify", "embed")  # aliases every service has
NAME = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._:@+-]*(/[A-Za-z0-9][A-Za-z0-9._:@+-]*)*$")  # becomes part of addresses
LONGEST = 128  # characters of a name


class Catalog:
    """Knows every model there is to ask.

    routes: names for models; each stands for one or several, which may be routes themselves
    providers: names of the vendors that can be asked, because their key is set
    vendors, models: further ones; one with a known name replaces it
    defaults: by tenant and task (or "default") the route that is used when the caller names none
    """

    def __init__(
        self,
        routes: Mapping[str, Route],
        providers: Collection[str],
        *,
        vendors: Iterable[Vendor] = (),
        models: Sequence[Model] = (),
        defaults: Mapping[str, Mapping[str, str]] | None = None,
    ) -> None:
        self._providers = frozenset(providers)
        self._vendors = {vendor.name: vendor for vendor in (*VENDORS, *vendors)}
        rows = (*MODELS, *models)
        self._models = {model.id: model for model in rows}
        self._bare = {model.name: model.id for model in reversed(rows)}  # the first row of a name wins
        self._routes = dict(routes)
        self._defaults = defaults or {}
        for name in (*ALWAYS, *self._routes):
            self._check(name)
        for each in (name for row in self._defaults.values() for name in row.values()):
            if each not in self._routes and self._id(each) is None:
                raise BadSetting(f"a tenant's default is {each}, which is no known model or route")

    def resolve(self, name: str, *, own_key: bool = False, stored: Collection[str] = ()) -> Choice:
        """Return what a model name or alias stands for; raises ValidationFailed naming `model`."""
        if len(name) > LONGEST or not NAME.match(name):
            raise unfit("This is no model's name.")
        found = self._candidates(name)
        first = next(iter(found))
        if first is None:
            raise unfit(f"No model is called {name}; /v1/models lists those that are known.")
        usable = self._for_own_key(first, found) if own_key else self._usable(found, stored)
        if not usable:
            raise unfit(self._missing(first))
        targets = tuple(map(self._target, usable))
        route = self._routes.get(name)
        return Choice(targets, route.named(name, usable.values()) if route else ORDERED)

    def default(self, tenant: str, task: str) -> str:
        """Return the alias a tenant's task uses when nobody names a model; "" if none is set."""
        row = self._defaults.get(tenant, {})
        return row.get(task) or row.get("default", "")

    def listing(self) -> list[dict[str, Any]]:
        """Return one JSON row per alias and per known model."""
        aliases = [self._alias_row(alias) for alias in sorted(self._routes)]
        return aliases + [self._model_row(model) for model in self._models.values()]

    def _candidates(self, name: str) -> dict[str | None, float]:
        """Return the weights of the models behind a name, by id in their order; None stands for unknown names."""
        found: dict[str | None, float] = {}
        for each, weight in self._flat(name, 1.0):
            found.setdefault(self._id(each), weight)
        return found

    def _usable(self, found: Mapping[str | None, float], stored: Collection[str] = ()) -> dict[str, float]:
        usable = self._providers.union(stored) if stored else self._providers
        return {id: weight for id, weight in found.items() if id and provider_of(id) in usable}

    def _for_own_key(self, first: str, found: Mapping[str | None, float]) -> dict[str, float]:
        """Return the candidates that may see a caller's own key: those of the first one's vendor."""
        vendor = self._vendors[provider_of(first)]
        if not vendor.key_name:
            raise unfit(f"{first} takes no key; name a model of the vendor that X-Provider-Key is for.")
        return {id: weight for id, weight in found.items() if id and provider_of(id) == vendor.name}

    def _flat(self, name: str, weight: float) -> Iterable[tuple[str, float]]:
        """Yield the model names behind a name with their weights, routes of routes followed."""
        route = self._routes.get(name)
        if route is None:
            yield name, weight
            return
        for each, share in route.candidates:
            yield from self._flat(each, weight * share)

    def _id(self, name: str) -> str | None:
        """Return "provider/model" for a model's name, or None."""
        provider, _, model = name.partition("/")
        if model and provider in self._vendors:
            return name
        if name in self._bare:
            return self._bare[name]
        return next((f"{owner}/{name}" for prefix, owner in PREFIXES if name.startswith(prefix)), None)

    def _target(self, id: str) -> Target:
        provider, _, model = id.partition("/")
        known = self._models.get(id)
        return Target(provider, model, self._abilities(id), known.context if known else 0)

    def _abilities(self, id: str) -> frozenset[str]:
        provider, _, model = id.partition("/")
        usual, known = self._vendors[provider].abilities, self._models.get(id)
        if known is not None and known.abilities is not None:
            return known.abilities
        if "embed" in model.lower():
            return usual & EMBEDDINGS
        less = next((able for owner, prefix, able in LESS if owner == provider and model.startswith(prefix)), usual)
        return less - EMBEDDINGS

    def _missing(self, id: str) -> str:
        provider = provider_of(id)
        key = self._vendors[provider].key_name
        if key:
            return f"{id} cannot be used here: {key} is not set."
        return f"{id} cannot be used here: {provider} is not configured."

    def _alias_row(self, alias: str) -> dict[str, Any]:
        found = self._candidates(alias)
        ids = [id for id in found if id is not None]
        best = next((id for id in ids if provider_of(id) in self._providers), ids[0])
        target = self._target(best)
        return {
            "id": alias,
            "kind": "alias",
            "provider": target.provider,
            "abilities": sorted(target.abilities),
            "context": target.context,
            "description": "Stands for " + ", then ".join(ids),
            "candidates": [{"model": id, "weight": found[id]} for id in ids],
            "available": target.provider in self._providers,
        }

    def _model_row(self, model: Model) -> dict[str, Any]:
        available = model.provider in self._providers
        return {
            "id": model.id,
            "kind": "model",
            "provider": model.provider,
            "abilities": sorted(self._abilities(model.id)),
            "context": model.context,
            "description": model.description if available else f"{model.description}. {self._missing(model.id)}",
            "available": available,
        }

    def _check(self, alias: str, above: tuple[str, ...] = ()) -> None:
        """Raise BadSetting for an alias that is missing, stands for itself, or for something nobody knows."""
        if alias in above:
            raise BadSetting(f"the alias {alias} stands for itself: {' > '.join((*above, alias))}")
        if alias not in self._routes or not self._routes[alias].candidates:
            raise BadSetting(f"the alias {alias} stands for nothing")
        for name, _ in self._routes[alias].candidates:
            if name in self._routes:
                self._check(name, (*above, alias))
            elif not NAME.match(name) or self._id(name) is None:
                raise BadSetting(f"the alias {alias} stands for {name}, which is no known model")


def provider_of(id: str) -> str:
    return id.partition("/")[0]


def unfit(what: str) -> ValidationFailed:
    return ValidationFailed("The model cannot be used.", fields={"model": [what]})
