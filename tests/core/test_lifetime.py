"""How long work may live, and a piece of it."""

import pytest

from llmapi.core.lifetime import Lifetime


@pytest.fixture
def now() -> list[float]:
    return [100.0]


@pytest.fixture
def life(now: list[float]) -> Lifetime:
    return Lifetime(10.0, lambda: now[0])


@pytest.mark.parametrize(("seconds", "left"), [(3.0, 3.0), (60.0, 8.0)])
def test_a_piece_has_its_own_time_within_the_whole(
    now: list[float], life: Lifetime, seconds: float, left: float
) -> None:
    now[0] += 2.0
    with life.part(seconds) as piece:
        assert piece.remaining() == left


def test_a_piece_ends_with_the_whole_and_the_whole_outlives_it(life: Lifetime) -> None:
    with life.part(3.0) as piece:
        piece.end()
    assert life.remaining() == 10.0
    with life.part(3.0) as over, life.part(3.0) as running:
        life.end()
        assert (over.ended, running.ended) == (True, True)


def test_a_piece_that_is_over_is_not_held_on_to(life: Lifetime) -> None:
    with pytest.raises(ValueError, match="broke"), life.part(3.0) as piece:
        raise ValueError("broke")
    life.end()
    assert not piece.ended
