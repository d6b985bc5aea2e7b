"""What was read is remembered for five seconds at most, and renewed without making others wait."""

import pytest

from llmapi.core.errors import Overloaded
from llmapi.tenants.remembered import Remembered


class Source:
    """A database: says how often it was asked, or that it is away."""

    def __init__(self) -> None:
        self.asked, self.away, self.now = 0, False, 0.0

    def read(self, _: str) -> int:
        if self.away:
            raise Overloaded("away")
        self.asked += 1
        return self.asked

    def clock(self) -> float:
        return self.now


@pytest.fixture
def source():
    return Source()


def remembered(source, **more):
    return Remembered(source.read, clock=source.clock, **more)


def test_a_value_is_read_once_in_a_while(source):
    known = remembered(source)
    assert [known.get("a"), known.get("a")] == [1, 1]
    source.now = 2.4
    assert known.get("a") == 1
    source.now = 5.0
    assert known.get("a") == 2
    known.forget("a")
    assert known.get("a") == 3


def test_a_value_counts_from_the_beginning_of_its_reading(source):
    def slow(_: str) -> int:
        source.now += 4.0
        return source.read(_)

    known = Remembered(slow, clock=source.clock)
    known.get("a")
    source.now = 5.0
    assert known.get("a") == 2


def test_one_thread_renews_while_others_go_on_with_the_old_value(source):
    seen = []

    def nested(_: str) -> int:
        if source.asked:
            seen.append(known.get("a"))  # another one that asks meanwhile
        return source.read(_)

    known = Remembered(nested, clock=source.clock)
    known.get("a")
    source.now = 3.0
    assert (known.get("a"), seen) == (2, [1])


def test_when_the_source_is_away_a_young_value_is_good_still(source):
    known = remembered(source)
    known.get("a")
    source.away, source.now = True, 4.9
    assert known.get("a") == 1
    source.now = 5.0
    with pytest.raises(Overloaded):
        known.get("a")
    source.away = False
    assert known.get("a") == 2


def test_what_may_outlive_its_source_does(source):
    known = remembered(source, outlives=True)
    known.get("a")
    source.away, source.now = True, 500.0
    assert known.get("a") == 1
    with pytest.raises(Overloaded):
        known.get("b")
