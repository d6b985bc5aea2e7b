"""Routes as they are written down: a name, its candidates with weights, and the rules among them."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from llmapi.core.routing import ORDERED, Policy


@dataclass(frozen=True, slots=True)
class Route:
    """What one name stands for: (model, alias or other route, weight) each; `policy` lacks name and weights."""

    candidates: tuple[tuple[str, float], ...]
    policy: Policy = field(default=ORDERED)

    def named(self, name: str, weights: Iterable[float]) -> Policy:
        """Return the policy for the candidates that are left of it."""
        return replace(self.policy, name=name, weights=tuple(weights))


def of_aliases(aliases: Mapping[str, str]) -> dict[str, Route]:
    """Return aliases as routes: several names, best first, are separated by commas."""
    return {
        alias: Route(tuple((name.strip(), 1.0) for name in value.split(",") if name.strip()))
        for alias, value in aliases.items()
    }
