"""A fixed threshold: serve the nearest entry from this cosine on. Keeps no bound; there to compare with."""

from collections.abc import Mapping
from typing import Any

from llmapi.cache.policies import Choice, Vector
from llmapi.cache.votes import Clusters, Near


class Fixed:
    """Serves whatever is near enough; learns nothing."""

    verified = False

    def __init__(self, threshold: float) -> None:
        self._threshold = threshold

    def decide(self, near: Near, vector: Vector, clusters: Clusters, max_error: float) -> Choice:
        """Compare the nearest entry's cosine with the threshold."""
        cosine = float(near.cosines[0])
        enough = cosine >= self._threshold
        return Choice(0, max(cosine, 0.0), enough, "served" if enough else "below threshold", judge=False)

    def learn(self, ticket: Any, same: bool) -> bool:
        """Keep every fresh answer."""
        return True

    def feedback(self, ticket: Any, good: bool) -> None:
        """Change nothing."""

    def forget(self, entry: str) -> None:
        """Hold nothing about entries."""

    def state(self) -> dict[str, Any]:
        """Return nothing."""
        return {}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Have nothing to restore."""
