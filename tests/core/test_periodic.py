"""What is done every so often goes on being done, whatever becomes of a single time."""

import threading

import pytest

from llmapi.core.errors import Overloaded
from llmapi.core.periodic import Periodic


class Act:
    """Fails as it is told, and says when it was done so many times."""

    def __init__(self, *failures: Exception) -> None:
        self.failures, self.times, self.changed = list(failures), 0, threading.Condition()

    def __call__(self) -> None:
        with self.changed:
            self.times += 1
            self.changed.notify_all()
        if self.failures:
            raise self.failures.pop(0)

    def wait(self, times: int) -> None:
        with self.changed:
            assert self.changed.wait_for(lambda: self.times >= times, 20)


@pytest.mark.parametrize("failure", [Overloaded("away"), ValueError("a defect")])
def test_a_failure_is_told_and_the_next_time_comes(failure: Exception, caplog: pytest.LogCaptureFixture) -> None:
    act = Act(failure)
    periodic = Periodic("often", act, 0.001, trouble="it was not done")
    periodic.start()
    act.wait(3)
    periodic.stop()
    assert [record.message.partition(":")[0] for record in caplog.records] == ["it was not done"]
    assert ("Traceback" in caplog.text) == isinstance(failure, ValueError)


def test_nothing_is_done_after_the_stop_and_it_can_be_started_anew() -> None:
    act = Act()
    periodic = Periodic("often", act, 0.001, trouble="")
    periodic.stop()
    for _ in range(2):
        before = act.times
        periodic.start()
        act.wait(before + 1)
        periodic.stop()
    assert not [thread for thread in threading.enumerate() if thread.name == "often"]


def test_a_stop_is_seen_by_the_act_that_is_under_way() -> None:
    begun = threading.Event()

    def act() -> None:
        begun.set()
        assert periodic.over.wait(20)

    periodic = Periodic("long", act, 0.001, trouble="")
    periodic.start()
    assert begun.wait(20)
    periodic.stop()
    assert not [thread for thread in threading.enumerate() if thread.name == "long"]
