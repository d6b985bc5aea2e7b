"""One thread works for all who wait."""

import threading

import pytest

from llmapi.db.combining import Combining
from tests.gateway.conftest import PATIENCE, run


def test_everybody_gets_an_answer_of_his_own_though_few_work():
    batches = []

    def work(asked):
        batches.append(len(asked))
        return [number * 2 for number in asked]

    row = Combining(work)
    for _ in range(20):
        assert run(*[lambda number=number: row.do(number, PATIENCE) for number in range(32)]) == [
            number * 2 for number in range(32)
        ]
    assert sum(batches) == 640


def test_those_who_come_while_work_is_done_share_the_next_batch():
    begun, go_on, batches = threading.Event(), threading.Event(), []

    def work(asked):
        batches.append(list(asked))
        begun.set()
        go_on.wait(PATIENCE)
        return asked

    row = Combining(work)
    first = threading.Thread(target=row.do, args=(0, PATIENCE))
    first.start()
    begun.wait(PATIENCE)
    others = [threading.Thread(target=row.do, args=(number, PATIENCE)) for number in (1, 2, 3)]
    for other in others:
        other.start()
    while len(row._waiting) < 3:
        pass
    go_on.set()
    for thread in (first, *others):
        thread.join(PATIENCE)
    assert [sorted(batch) for batch in batches] == [[0], [1, 2, 3]]


def test_a_failure_is_everybodys_in_the_batch_and_nobodys_after_it():
    failures = [ValueError("no")]

    def work(asked):
        if failures:
            raise failures.pop()
        return asked

    row = Combining(work)
    with pytest.raises(ValueError):
        row.do(1, PATIENCE)
    assert row.do(2, PATIENCE) == 2


def test_who_waits_too_long_leaves_and_is_not_worked_for():
    begun, go_on, seen = threading.Event(), threading.Event(), []

    def work(asked):
        seen.extend(asked)
        begun.set()
        go_on.wait(PATIENCE)
        return asked

    row = Combining(work)
    first = threading.Thread(target=row.do, args=(0, PATIENCE))
    first.start()
    begun.wait(PATIENCE)
    with pytest.raises(TimeoutError):
        row.do(1, 0.01)
    go_on.set()
    first.join(PATIENCE)
    assert seen == [0]
    assert row.do(2, PATIENCE) == 2
