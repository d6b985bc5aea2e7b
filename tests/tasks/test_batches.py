"""Batches: each line is asked once, whatever happens to whoever asks it."""

import json
import threading
import tracemalloc
from datetime import timedelta

import pytest

from llmapi.core.errors import CallEnded, JobNotCancellable, NotFound, PayloadTooLarge, ProviderThrottled
from llmapi.core.errors import Overloaded, ProviderTimeout, StorageFull, ValidationFailed
from llmapi.core.lifetime import Lifetime
from llmapi.jobs.threads import Threads
from llmapi.tasks.batch_job import KIND
from llmapi.tasks.batch_lines import lines_of
from llmapi.tasks.batches import Desk
from tests.servers.databases import Database
from tests.tasks.batching import TEXT, House, Killed, line

COMPLETIONS = "/v1/chat/completions"
UNKNOWN = "idempotency_outcome_unknown"


@pytest.fixture
def house(database: Database) -> House:
    """Every promise is kept on each database."""
    return House(database.open())


def codes(lines):
    return [each["error"]["code"] if each["error"] else each["response"]["status_code"] for each in lines]


def answers(lines):
    return [each["response"]["body"]["output"]["text"] for each in lines]


def test_every_line_is_answered_once_and_in_order(house):
    id = house.put(*(line(n) for n in range(50)), labels={"night": "1"})
    assert house.run() == {"batch": id, "status": "completed"}
    found = house.get(id)
    assert (found.status, found.total, found.completed, found.failed, found.labels) == (
        "completed", 50, 50, 0, {"night": "1"}
    )  # fmt: skip
    assert [each["custom_id"] for each in house.output(id)] == [f"c{n}" for n in range(50)]
    assert answers(house.output(id)) == [f"re q{n}" for n in range(50)]
    assert set(house.model.paid.values()) == {1}
    assert found.error_file is None
    assert house.run() is None


def test_a_batch_of_a_thousand_lines_that_is_killed_repeats_nothing_paid(house):
    id = house.put(*(line(n) for n in range(1000)))

    def die_at_forty_percent(text, call):
        if len(house.model.paid) > 400:
            raise Killed

    house.model.behaviour = die_at_forty_percent
    with pytest.raises(Killed):
        house.run()
    assert 400 < len(house.model.paid) <= 408
    house.model.behaviour = lambda text, call: None
    house.clock.forward(seconds=31)  # the lease is over
    house.run()
    found = house.get(id)
    assert (found.status, found.total, found.completed + found.failed) == ("completed", 1000, 1000)
    assert max(house.model.paid.values()) == 1
    assert len(house.model.paid) == 1000
    assert codes(house.errors(id)) == [UNKNOWN] * found.failed
    assert 1 <= found.failed <= 8
    told = [int(each["custom_id"][1:]) for each in house.output(id)]
    assert told == sorted(told)


@pytest.mark.parametrize("lived", [0, 1, 7, 12])
def test_kills_again_and_again_at_any_line_pay_nothing_twice(house, lived):
    id = house.put(*(line(n) for n in range(50)))
    for _ in range(2):
        begun = len(house.model.paid)

        def die(text, call, limit=begun + lived):
            if len(house.model.paid) > limit:
                raise Killed

        house.model.behaviour = die
        with pytest.raises(Killed):
            house.run()
        house.clock.forward(seconds=31)
    house.model.behaviour = lambda text, call: None
    house.run()
    assert house.get(id).status == "completed"
    assert max(house.model.paid.values()) == 1
    assert house.get(id).completed + house.get(id).failed == 50


def test_a_kill_while_lines_are_read_begins_with_the_reading(house):
    id = house.put(*(line(n) for n in range(250)))
    taken = house.rows.take(id, house.get(id).job)
    house.rows.add([{"batch": id, "number": 1, "custom_id": "old", "state": "waiting", "body": "{}"}])
    assert taken is not None
    house.run()
    assert [each["custom_id"] for each in house.output(id)] == [f"c{n}" for n in range(250)]


def test_a_run_that_was_lost_before_it_read_forgets_no_line_of_the_next_one(house):
    id = house.put(line(1))
    (_, lost), (_, owner) = house.rows.take(id), house.rows.take(id)
    house.rows.add([{"batch": id, "number": 1, "custom_id": "c1", "state": "sent", "body": "{}"}])
    house.rows.forget(id, lost)
    assert house.rows.counts(id) == {"sent": 1}
    house.rows.forget(id, owner)
    assert house.rows.counts(id) == {}


def test_an_answer_that_comes_after_the_run_was_lost_is_taken(house):
    id = house.put(line(1), line(2))

    def be_slow(text, call):
        if text == "q1":
            house.model.behaviour = lambda text, call: None
            house.clock.forward(seconds=31)
            house.rows.take(id)  # another process took the batch over

    house.model.behaviour = be_slow
    with pytest.raises(CallEnded):
        house.run()
    assert house.rows.counts(id)["done"] >= 1
    house.clock.forward(seconds=31)
    house.run()
    assert house.get(id).completed == 2
    assert house.model.paid == {"q1": 1, "q2": 1}


WRONG = [
    (b"{broken", "malformed_json"),
    (b'{"a": 1, "a": 2}', "malformed_json"),
    (b"[" * 70 + b"]" * 70, "json_too_deep"),
    (b"\xff\xfe", "malformed_json"),
    (b"[]", "invalid_line"),
    (b"x" * 1_048_577, "line_too_long"),
    ({**line(9), "custom_id": None}, "invalid_custom_id"),
    ({**line(9), "custom_id": 7}, "invalid_custom_id"),
    ({**line(9), "custom_id": ""}, "invalid_custom_id"),
    ({**line(9), "custom_id": "x" * 513}, "invalid_custom_id"),
    (line(1), "duplicate_custom_id"),
    ({**line(9), "method": "GET"}, "invalid_method"),
    ({**line(9), "url": "/v1/embeddings"}, "invalid_url"),
    ({**line(9), "colour": "red"}, "invalid_line"),
    ({**line(9), "body": "text"}, 422),
    ({"custom_id": "c9", "method": "POST", "url": TEXT}, 422),
    (line(9, colour="red"), 422),
    (line(9, stream=True), 422),
    (line(9, dry_run=True), 422),
    (line(9, temperature=9), 422),
]


@pytest.mark.parametrize(("wrong", "code"), WRONG)
def test_a_wrong_line_becomes_an_error_line_and_the_rest_goes_on(house, wrong, code):
    id = house.put(line(1), wrong, line(2))
    house.run()
    assert answers(house.output(id)) == ["re q1", "re q2"]
    (error,) = house.errors(id)
    assert codes([error]) == [code]
    assert set(error) == {"id", "custom_id", "response", "error"}
    assert error["error"] is None or error["error"]["line"] == 2
    assert (house.get(id).total, house.get(id).failed) == (3, 1)


def test_blank_lines_and_windows_line_ends_are_no_requests(house):
    id = house.put(b"\xef\xbb\xbf" + json.dumps(line(1)).encode() + b"\r", b"", b"  ", line(2))
    house.run()
    assert [each["custom_id"] for each in house.output(id)] == ["c1", "c2"]
    assert house.get(id).total == 2


def test_lines_come_whole_from_pieces_of_any_size():
    text = b"one\n\ntwo\nlonger than ten\nthree"
    for size in range(1, len(text) + 1):
        pieces = [text[at : at + size] for at in range(0, len(text), size)]
        assert list(lines_of(pieces, 10)) == [b"one", b"", b"two", None, b"three"]


def test_a_file_without_lines_fails_as_a_whole(house):
    id = house.put(b"", b"  ")
    house.run()
    assert (house.get(id).status, house.get(id).errors[0]["code"]) == ("failed", "empty_file")
    assert [kind for kind, _ in house.told.notices] == ["batch.failed"]


def test_a_file_that_was_deleted_before_it_was_read_fails_the_batch(house):
    file = house.upload(line(1))
    id = house.batches.desk.create("a", TEXT, file).id
    house.batches.files.delete(file, "a")
    house.run()
    assert (house.get(id).status, house.get(id).errors[0]["code"]) == ("failed", "file_not_found")


def test_what_was_never_worked_on_is_asked_again_after_a_while(house):
    def be_busy_twice(text, call):
        if house.model.paid[text] < 3:
            error = ProviderThrottled("busy", retry_after=7.0)
            call.refused(error)
            raise error

    house.model.behaviour = be_busy_twice
    id = house.put(line(1))
    house.run()
    assert (house.get(id).completed, house.naps) == (1, [7.0, 7.0])


def test_what_stays_busy_becomes_an_error_line_with_the_doors_own_error(house):
    def be_busy(text, call):
        error = ProviderThrottled("busy")
        call.refused(error)
        raise error

    house.model.behaviour = be_busy
    body = {"model": "m", "messages": [{"role": "user", "content": "q"}]}
    id = house.put({**line(1, COMPLETIONS), "body": body}, endpoint=COMPLETIONS)
    house.run()
    (error,) = house.errors(id)
    assert error["response"]["status_code"] == 429
    assert error["response"]["body"]["error"]["code"] == "rate_limit_exceeded"
    assert house.model.paid["q"] == 6


def test_what_may_have_been_worked_on_is_not_asked_again(house):
    def be_slow(text, call):
        error = ProviderTimeout("too slow")
        call.refused(error)
        raise error

    house.model.behaviour = be_slow
    id = house.put(line(1))
    house.run()
    assert (codes(house.errors(id)), house.model.paid["q1"], house.naps) == ([504], 1, [])


def test_no_more_lines_at_once_than_set(database):
    house = House(database.open(), concurrency=3)
    together = threading.Barrier(3)
    house.model.behaviour = lambda text, call: together.wait(5)
    house.put(*(line(n) for n in range(30)))
    house.run()
    assert house.model.most == 3


def test_time_over_leaves_what_was_answered_and_says_so_of_the_rest(house):
    def pass_a_day(text, call):
        if len(house.model.paid) == 20:
            house.clock.forward(hours=24)

    house.model.behaviour = pass_a_day
    id = house.put(*(line(n) for n in range(100)))
    house.run()
    found = house.get(id)
    assert (found.status, found.completed + found.failed) == ("expired", 100)
    assert 20 <= found.completed == len(house.model.paid) <= 28
    assert set(codes(house.errors(id))) == {"batch_expired"}
    assert found.expired_at is not None


def test_a_batch_nobody_works_on_expires_too(house):
    id = house.put(line(1))
    house.clock.forward(hours=25)
    house.batches.keeper.look()
    assert house.get(id).status == "expired"
    assert house.run() is None
    assert house.model.paid == {}


def test_a_batch_whose_job_is_gone_gets_another(house):
    id = house.put(*(line(n) for n in range(40)))

    def die(text, call):
        raise Killed

    house.model.behaviour = die
    for _ in range(3):
        with pytest.raises(Killed):
            house.run()
        house.clock.forward(seconds=31)
    assert house.run() is None  # the third worker was lost: the job is dead
    house.model.behaviour = lambda text, call: None
    house.clock.forward(seconds=31)
    house.batches.keeper.look()
    house.run()
    assert house.get(id).status == "completed"
    assert max(house.model.paid.values()) == 1


@pytest.mark.parametrize("error", [Overloaded("full"), StorageFull("full")], ids=["queue", "disk"])
def test_a_batch_whose_job_finds_no_room_is_accepted_once_and_gets_it_later(house, error):
    class Full:
        def put(self, *_, **__):
            raise error

    parts = house.batches
    desk = Desk(house.engine, house.rows, parts.files, Full(), parts.keeper, now=house.clock)
    id = desk.create("a", TEXT, house.upload(line(1))).id
    house.clock.forward(seconds=31)
    parts.keeper.look()
    assert house.run() == {"batch": id, "status": "completed"}


def test_a_queued_batch_is_cancelled_at_once_and_nothing_is_asked(house):
    id = house.put(line(1), line(2))
    assert house.batches.desk.cancel(id, "a").status == "cancelled"
    assert house.run() is None
    assert house.model.paid == {}
    with pytest.raises(JobNotCancellable):
        house.batches.desk.cancel(id, "a")
    assert house.told.notices[-1][0] == "batch.cancelled"


def test_a_running_batch_is_cancelled_within_two_seconds(house):
    asked = threading.Semaphore(0)

    def wait(text, call):
        if text in ("q0", "q1"):
            return
        ended = threading.Event()
        call.lifetime.on_end(ended.set)
        asked.release()
        assert ended.wait(10)
        raise CallEnded("cancelled")

    house.model.behaviour = wait
    threads = Threads(house.jobs, {KIND: house.batches.job}, workers=1, poll=0.02)
    threads.start()
    try:
        id = house.put(*(line(n) for n in range(100)))
        for _ in range(8):
            assert asked.acquire(timeout=10)
        begun = Lifetime(2)
        assert house.batches.desk.cancel(id, "a").status in ("cancelling", "cancelled")
        while house.get(id).status != "cancelled":
            assert begun.remaining() > 0
            threading.Event().wait(0.02)
    finally:
        threads.stop(1.0)
    assert answers(house.output(id)) == ["re q0", "re q1"]
    assert codes(house.errors(id)) == [UNKNOWN] * 8 + ["batch_cancelled"] * 90
    assert house.jobs.list("a").jobs[0].status == "cancelled"


def test_a_cancel_that_was_cut_short_reaches_the_run_all_the_same(house):
    id = house.put(line(1))
    claim = house.jobs.claim("w", 60.0)
    _, owner = house.rows.take(id, claim.job.id)
    house.rows.change(id, owner, status="cancelling")  # and the process that was to end the job is gone
    house.clock.forward(seconds=31)
    house.batches.keeper.look()
    assert house.jobs.heartbeat(claim) == "cancel"


def test_a_run_of_a_batch_that_is_to_be_cancelled_asks_nothing(house):
    id = house.put(*(line(n) for n in range(50)))
    house.model.behaviour = lambda text, call: house.batches.job.drain()
    house.run()
    asked, house.batches = len(house.model.paid), house.opened()
    _, owner = house.rows.take(id)
    house.rows.change(id, owner, status="cancelling")  # and the process that was to end the job is gone
    assert house.run() == {"batch": id, "status": "cancelled"}
    assert len(house.model.paid) == asked < 50


def test_a_stop_finishes_what_is_under_way_and_passes_on_the_rest(house):
    id = house.put(*(line(n) for n in range(100)))

    def drain(text, call):
        if len(house.model.paid) == 20:
            house.batches.job.drain()

    house.model.behaviour = drain
    assert house.run() == {"batch": id, "status": "in_progress"}
    assert 20 <= house.get(id).completed == len(house.model.paid) <= 28
    house.batches = house.opened()
    house.run()
    assert (house.get(id).status, house.get(id).completed) == ("completed", 100)
    assert max(house.model.paid.values()) == 1


def test_a_batch_gives_its_place_back_when_others_wait(database):
    house = House(database.open(), turn=0.0)
    id = house.put(*(line(n) for n in range(30)))
    other = house.put(line(1))
    rounds = 0
    while house.run() is not None:
        rounds += 1
        if rounds == 1:
            house.jobs.cancel(house.get(other).job, "a")
    assert rounds == 2
    assert house.get(id).completed == 30


def test_a_batch_keeps_its_place_while_others_wait_for_their_hour(database):
    house = House(database.open(), turn=0.0)
    house.jobs.put("task", {}, tenant="a", priority=9, run_at=house.clock.now + timedelta(hours=1))
    id = house.put(*(line(n) for n in range(30)))
    assert house.run() == {"batch": id, "status": "completed"}


def test_the_job_tells_how_far_it_is(house):
    id = house.put(*(line(n) for n in range(10)))
    house.run()
    job = house.jobs.get(house.get(id).job, "a")
    assert job.progress == {"done": 10, "total": 10, "unit": "lines"}
    assert job.priority == 2


def test_the_end_is_told_with_what_came_of_it(house):
    id = house.put(line(1), b"{")
    house.run()
    kind, told = next(each for each in house.told.notices if each[0].startswith("batch."))
    assert (kind, told["id"], told["output_file_id"]) == ("batch.completed", id, house.get(id).output_file)
    assert told["request_counts"] == {"total": 2, "completed": 1, "failed": 1}


def test_an_end_that_cannot_be_told_has_not_happened(house):
    id = house.put(line(1))

    def refuse(connection, tenant, kind, data):
        raise StorageFull("no")

    keep, house.told.add = house.told.add, refuse
    with pytest.raises(StorageFull):
        house.run()
    assert house.get(id).status == "finalizing"
    house.told.add = keep
    house.clock.forward(seconds=31)
    house.run()
    assert (house.get(id).status, answers(house.output(id))) == ("completed", ["re q1"])
    assert house.model.paid == {"q1": 1}


def test_a_foreign_file_or_an_output_is_no_input(house):
    with pytest.raises(ValidationFailed):
        house.batches.desk.create("b", TEXT, house.upload(line(1)))
    id = house.put(line(1))
    house.run()
    with pytest.raises(ValidationFailed):
        house.batches.desk.create("a", TEXT, house.get(id).output_file)


def test_files_are_gone_after_their_time(house):
    file = house.upload(line(1))
    house.clock.forward(days=30)
    with pytest.raises(NotFound):
        house.batches.files.get(file, "a")
    house.batches.keeper.look()
    with house.engine.connect() as connection:
        for table in ("files", "file_chunks"):
            assert connection.exec_driver_sql(f"SELECT count(*) FROM {table}").scalar() == 0


def test_a_file_that_grows_too_large_is_refused_and_leaves_nothing(database):
    house = House(database.open(), largest=1_000_000)
    upload = house.batches.files.begin("a", "batch", "x")
    upload.write(b"x" * 1_000_000)
    with pytest.raises(PayloadTooLarge):
        upload.write(b"x")
    house.batches.files.abandon(upload)
    with house.engine.connect() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM file_chunks").scalar() == 0


def test_nothing_is_left_of_the_lines_of_a_batch_that_ended(house):
    house.put(*(line(n) for n in range(20)))
    house.run()
    with house.engine.connect() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM batch_lines").scalar() == 0


def test_lines_that_a_run_left_which_was_killed_at_the_very_end_go_when_its_job_runs_again(house):
    id, other = house.put(line(1)), house.put(line(2))
    house.run()
    for each in (id, other):
        house.rows.add([{"batch": each, "number": 9, "custom_id": "c9", "state": "done", "result": "{}"}])
        house.jobs.put(KIND, {"batch": each}, tenant="a", priority=9)
    assert [house.run()["status"] for _ in range(2)] == ["over", "over"]
    assert (house.rows.counts(id), house.rows.counts(other)) == ({}, {"done": 1})  # the other one goes on


def test_a_file_of_twenty_megabytes_is_not_held_in_memory(house):
    upload = house.batches.files.begin("a", "batch", "in.jsonl")
    for number in range(400):
        upload.write(json.dumps(line(number, system="x" * 30_000) | {"custom_id": "n" * 400 + str(number)}).encode())
        upload.write(b" " * 22_000 + b"\n")
    id = house.batches.desk.create("a", TEXT, house.batches.files.finish(upload).id).id
    tracemalloc.start()
    try:
        house.run()
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert house.get(id).completed == 400
    assert peak < 10_000_000
