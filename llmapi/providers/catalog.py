"""Which model a name stands for, and what it can do."""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from llmapi.core.calls import Target
from llmapi.core.errors import BadSetting, ValidationFailed
from llmapi.providers.rows import EMBEDDINGS, LESS, MODELS, PREFIXES, VENDORS, Model, Vendor

ALWAYS = ("default", "text", "code", "classify", "embed")  # aliases every service has
NAME = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._:@+-]*(/[A-Za-z0-9][A-Za-z0-9._:@+-]*)*$")  # becomes part of addresses
LONGEST = 128  # characters of a name


class Catalog:
    """Knows every model there is to ask.

    aliases: names for models; one may stand for several, best first, comma separated, and for other aliases
    providers: names of the vendors that can be asked, because their key is set
    vendors: further vendors; one with a known name replaces it
    """

    def __init__(
        self,
        aliases: Mapping[str, str],
        providers: Collection[str],
        *,
        vendors: Iterable[Vendor] = (),
        models: Sequence[Model] = MODELS,
    ) -> None:
        self._providers = frozenset(providers)
        self._vendors = {vendor.name: vendor for vendor in (*VENDORS, *vendors)}
        self._models = {model.id: model for model in models}
        self._bare = {model.name: model.id for model in reversed(models)}  # the first row of a name wins
        self._aliases = {alias: tuple(split(value)) for alias, value in aliases.items()}
        for alias in (*ALWAYS, *self._aliases):
            self._check(alias)

    def resolve(self, name: str) -> tuple[Target, ...]:
        """Return the candidates of a model name or alias, best first; raises ValidationFailed naming `model`."""
        if len(name) > LONGEST or not NAME.match(name):
            raise unfit("This is no model's name.")
        ids = list(dict.fromkeys(self._id(each) for each in self._flat(name)))
        usable = [each for each in ids if each and provider_of(each) in self._providers]
        if usable:
            return tuple(map(self._target, usable))
        if ids[0] is None:
            raise unfit(f"No model is called {name}; /v1/models lists those that are known.")
        raise unfit(self._missing(ids[0]))

    def listing(self) -> list[dict[str, Any]]:
        """Return one JSON row per alias and per known model."""
        aliases = [self._alias_row(alias) for alias in sorted(self._aliases)]
        return aliases + [self._model_row(model) for model in self._models.values()]

    def _flat(self, name: str) -> Iterable[str]:
        """Yield the model names behind a name, aliases of aliases followed."""
        for each in self._aliases.get(name, ()):
            yield from self._flat(each)
        if name not in self._aliases:
            yield name

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
        ids = [id for name in self._flat(alias) if (id := self._id(name)) is not None]
        best = next((id for id in ids if provider_of(id) in self._providers), ids[0])
        target = self._target(best)
        return {
            "id": alias,
            "kind": "alias",
            "provider": target.provider,
            "abilities": sorted(target.abilities),
            "context": target.context,
            "description": "Stands for " + ", then ".join(ids),
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
        if not self._aliases.get(alias):
            raise BadSetting(f"the alias {alias} stands for nothing")
        for name in self._aliases[alias]:
            if name in self._aliases:
                self._check(name, (*above, alias))
            elif not NAME.match(name) or self._id(name) is None:
                raise BadSetting(f"the alias {alias} stands for {name}, which is no known model")


def provider_of(id: str) -> str:
    return id.partition("/")[0]


def split(names: str) -> list[str]:
    return [name.strip() for name in names.split(",") if name.strip()]


def unfit(what: str) -> ValidationFailed:
    return ValidationFailed("The model cannot be used.", fields={"model": [what]})
