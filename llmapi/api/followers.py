"""How many streams of events are read at once: each holds a thread of the process, for as long as a job may wait."""

import threading
from collections.abc import Callable

from flask import Flask

from llmapi.api.context import identity
from llmapi.api.under_way import counted
from llmapi.core.errors import Overloaded

FOLLOWING = ("job_events.JobEvents", "streams.OneStream")
SHARE = 2  # of a process's threads at most the half; of that, one tenant at most the half


class Followers:
    """The streams that are read in a process, each with its tenant.

    threads: that serve requests
    """

    def __init__(self, threads: int) -> None:
        self._most, self._most_of_one = threads // SHARE, threads // SHARE // SHARE
        self._lock = threading.Lock()
        self._open: dict[object, str] = {}

    def enter(self, tenant: str) -> Callable[[], object]:
        """Count one more; returns what is to be called at its end, any number of times. Raises Overloaded."""
        mark = object()
        with self._lock:
            known = list(self._open.values())
            if len(known) >= self._most or known.count(tenant) >= self._most_of_one:
                raise Overloaded("Too many streams of events are read here.", retry_after=5.0)
            self._open[mark] = tenant
        return lambda: self._open.pop(mark, None)


def install(app: Flask, followers: Followers) -> None:
    """Wrap the views of FOLLOWING; after the blueprints were registered."""
    for endpoint in FOLLOWING:
        view = app.view_functions[endpoint]
        app.view_functions[endpoint] = counted(app, lambda: followers.enter(identity().tenant), view, "GET")
