"""The cache by meaning, put together; what it needs is made with the first question that asks for it."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from llmapi.core.contracts import Embedder, Provider
from llmapi.core.errors import BadSetting
from llmapi.gateway.semantic import Semantic
from llmapi.gateway.semantic_rules import KINDS, Rules
from llmapi.parts.base import Base
from llmapi.providers.embeddings import MiniLM
from llmapi.providers.local import Local

if TYPE_CHECKING:
    from llmapi.cache.index import SharedIndex
    from llmapi.cache.semantic import Spaces

POLICIES = ("vote", "vote:unverified", "vcache")


def open_semantic(base: Base, providers: Mapping[str, Provider]) -> Semantic:
    """Return it, off for all who do not ask; raises BadSetting. The judge is still to be given."""
    settings, said = base.settings, base.settings.semantic
    if said.policy not in POLICIES and not said.policy.startswith("fixed:"):
        known = ", ".join(POLICIES)
        raise BadSetting(f"semantic.policy: none is called {said.policy!r}, known: {known}, fixed:<cosine>")
    rules = Rules(
        tasks={name: getattr(settings, name).max_error for name in KINDS},
        tenants=said.tenants,
        max_temperature=said.max_temperature,
        volatile_ttl=said.volatile_ttl,
        ttl=settings.cache_ttl,
    )
    return Semantic(
        lambda: open_spaces(base), lambda: embedder_of(providers), rules, judge_share=said.judge_share
    )


def open_spaces(base: Base) -> "Spaces":
    """Return what is kept by meaning."""
    from llmapi.cache.learned import Learned
    from llmapi.cache.semantic import Spaces
    from llmapi.cache.semantic_shelf import Bounds

    said = base.settings.semantic
    bounds = Bounds(said.entries, int(said.megabytes * 1_048_576))
    return Spaces(said.policy, bounds, learned=Learned(base.engine, said.policy), shared=open_shared(base))


def open_shared(base: Base) -> "SharedIndex | None":
    """Return the index all workers share, if the settings name one."""
    said = base.settings.semantic
    if not said.url:
        return None
    from llmapi.cache.index_shared import open_index

    return open_index(said.url, entries=said.entries, folder=base.folder)


def embedder_of(providers: Mapping[str, Provider]) -> Embedder:
    """Return the embedder of the embedded models, so that it is in memory once, or one of its own."""
    local = providers.get("local")
    return local.embedder if isinstance(local, Local) else MiniLM()
