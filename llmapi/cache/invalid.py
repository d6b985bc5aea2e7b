"""What was declared good no longer: looked at by every cache before it serves an answer."""

import threading
from collections.abc import Iterable

from llmapi.cache.record import Record
from llmapi.core.kept import Mark, Meant

MOST = 500  # marks of one tenant; beyond, all it had is meant


class Invalid:
    """The marks of every tenant, and whether one means a record. Looking takes no lock: what it reads is replaced."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._marks: dict[str, dict[tuple[Meant, str], float]] = {}  # by tenant: (field, value) -> before

    def add(self, marks: Iterable[Mark]) -> None:
        """Take marks in; of two for the same the later one counts."""
        with self._lock:
            for mark in marks:
                known = {**self._marks.get(mark.tenant, {})}
                place = (mark.field, mark.value if mark.field != "all" else "")
                known[place] = max(mark.before, known.get(place, 0.0))
                if len(known) > MOST:
                    known = {("all", ""): max(known.values())}
                self._marks[mark.tenant] = known

    def every(self) -> list[Mark]:
        """Return the marks there are."""
        with self._lock:
            tenants = list(self._marks.items())
        return [Mark(tenant, *place, before) for tenant, known in tenants for place, before in known.items()]

    def forget(self, before: float) -> None:
        """Let go of marks that can mean nothing any more: what was asked before is not kept anywhere."""
        with self._lock:
            for tenant, known in list(self._marks.items()):
                left = {place: instant for place, instant in known.items() if instant >= before}
                if left:
                    self._marks[tenant] = left
                else:
                    del self._marks[tenant]

    def means(self, key: str, record: Record) -> bool:
        """Say whether this record may not be served."""
        known = self._marks.get(record.tenant)
        if known is None:
            return False
        asked, model = record.asked, record.model
        names: list[tuple[Meant, str]] = [("all", ""), ("key", key), ("task", record.task), ("model", model)]
        names += [("model", f"{record.provider}/{model}"), *(("tag", tag) for tag in record.tags)]
        return any(asked < known.get(name, 0.0) for name in names)
