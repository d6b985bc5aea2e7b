"""Close what must not be inherited: SQLite's locks belong to a process and do not follow into its children."""

import os
import weakref
from collections.abc import Callable
from typing import Any


def close_before_fork(owner: Any, close: Callable[[Any], None]) -> None:
    """Call `close(owner)` in the parent before every fork, as long as `owner` lives.

    A child that inherits an open SQLite file believes it has the locks its parent has, and has none: another process
    may then delete the write-ahead log under it.
    """
    alive = weakref.ref(owner)

    def tell() -> None:
        if (there := alive()) is not None:
            close(there)

    os.register_at_fork(before=tell)
