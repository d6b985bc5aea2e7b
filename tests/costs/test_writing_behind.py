"""What the database does not take is tried again soon, also when nothing else comes."""

import threading
from collections.abc import Sequence

from llmapi.core.errors import Overloaded
from llmapi.costs.reservations import Settle
from llmapi.costs.writing_behind import AGAIN, WritingBehind
from tests.costs.booked import row
from tests.gateway.conftest import PATIENCE


def test_rows_that_were_not_taken_are_tried_again_although_no_other_comes() -> None:
    written, tries = threading.Event(), []

    def write(ends: Sequence[Settle]) -> None:
        tries.append(len(ends))
        if len(tries) == 1:
            raise Overloaded("The storage is busy.")
        written.set()

    behind = WritingBehind(write, lambda: 0, every=60 * AGAIN)
    behind.start()
    assert behind.take(Settle(row()))
    assert written.wait(PATIENCE)
    behind.stop()
    assert (tries, behind.waiting()) == ([1, 1], 0)
