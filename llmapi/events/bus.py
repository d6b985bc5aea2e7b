"""Tells every listener what happened, one after the other, in the thread in which it happened."""

import logging
from collections.abc import Iterable
from typing import Any

from llmapi.core.contracts import Sink

log = logging.getLogger(__name__)


class EventBus:
    """The Bus of one process. Sinks are called at once, so they must be quick; a slow one keeps a queue of its own."""

    def __init__(self, sinks: Iterable[Sink] = ()) -> None:
        self._sinks = tuple(sinks)

    def listen(self, sink: Sink) -> None:
        """Tell one more sink from now on."""
        self._sinks = (*self._sinks, sink)

    def tell(self, event: Any) -> None:
        """Tell every sink; one that fails is logged and breaks nothing."""
        for sink in self._sinks:
            try:
                sink(event)
            except Exception:  # who listens to a call must never break it
                log.exception("%r lost a %s", sink, type(event).__name__)
