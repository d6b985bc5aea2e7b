"""What a stream said can be read on from any event, in the process that writes it and in any other."""

import threading
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import func, select

from llmapi.core.errors import LlmApiError, NotFound, StorageFull
from llmapi.core.ids import new_id
from llmapi.core.lifetime import Lifetime
from llmapi.db.engine import reading
from llmapi.db.tables.streams import pieces, streams
from llmapi.gateway.recording import EVENT, NEAR, Recording
from llmapi.gateway.streams import StreamLog, born
from tests.servers.databases import Database


class Wall:
    def __init__(self):
        self.now = datetime.now(UTC)

    def __call__(self):
        return self.now


@pytest.fixture
def engine(database: Database):
    return database.open()


@pytest.fixture
def wall():
    return Wall()


@pytest.fixture
def log(engine, wall):
    return elsewhere(engine, wall)


def elsewhere(engine, wall, **how):
    """Return the log of another process; who looks again there moves the time on."""

    def sleep(seconds):
        wall.now += timedelta(seconds=seconds)

    return StreamLog(engine, now=wall, sleep=sleep, **how)


def frame(number):
    return b'id: %d\ndata: {"text":"%d"}\n\n' % (number, number)


def said(count):
    return [frame(number) for number in range(count)]


def begun(log, tenant="acme", count=0, **how):
    recording = Recording(tenant, Lifetime(60), **how)
    log.keep(recording)
    for number in range(count):
        recording.append(frame(number))
    return recording


def read(log, recording, number=0, tenant="acme"):
    return [each for frames in log.follow(recording.id, tenant, number, 0.0) for each in frames]


def rows(engine, table=streams):
    with reading(engine) as connection:
        return connection.scalar(select(func.count()).select_from(table))


def test_a_stream_cut_at_any_event_is_read_on_from_there_in_every_process(log, engine, wall):
    recording = begun(log)
    for number in range(6):
        recording.append(frame(number))
        log.flush() if number % 2 else None
    recording.end("done")
    for place in (log, None):
        log.flush() if place is None else None
        for number in range(7):
            assert read(place or elsewhere(engine, wall), recording, number) == said(6)[number:]


def test_a_reader_in_the_same_process_gets_an_event_at_once(log):
    recording = begun(log, count=1)
    follower = log.follow(recording.id, "acme", 0, 30.0)
    assert next(follower) == [frame(0)]
    threading.Timer(0.05, recording.append, [frame(1)]).start()
    assert next(follower) == [frame(1)]
    threading.Timer(0.05, recording.end, ["done"]).start()
    assert list(follower) in ([], [[]])


def test_a_reader_in_another_process_gets_what_was_stored_then_what_comes_then_the_end(log, engine, wall):
    recording = begun(log, count=2)
    log.flush()
    follower = elsewhere(engine, wall).follow(recording.id, "acme", 1, 0.0)
    assert next(follower) == [frame(1)]
    assert next(follower) == []
    recording.append(frame(2))
    recording.end("done")
    log.flush()
    assert [each for frames in follower for each in frames] == [frame(2)]


def test_what_left_the_memory_is_read_from_the_database(log, engine):
    big = b"data: " + b"x" * NEAR + b"\n\n"
    recording = begun(log, count=1)
    recording.append(big)
    log.flush()
    assert recording.since(0) is None
    recording.append(frame(2))
    recording.end("done")
    assert read(log, recording, 1) == [big, frame(2)]


def test_a_foreign_stream_is_as_unknown_as_none(log, engine, wall):
    recording = begun(log, count=1)
    for place in (log, elsewhere(engine, wall)):
        for id, tenant in ((recording.id, "other"), ("stream_" + "0" * 26, "acme"), ("stream", "acme")):
            with pytest.raises(NotFound, match="no such stream"):
                place.follow(id, tenant, 0)
        log.flush()


def test_a_stream_that_began_just_now_elsewhere_is_waited_for(log, engine, wall):
    recording = begun(log, count=1)
    recording.end("done")
    naps = []

    def sleep(seconds):
        naps.append(seconds)
        log.flush()

    assert read(StreamLog(engine, now=wall, sleep=sleep), recording) == [frame(0)]
    assert len(naps) == 1


def test_an_id_tells_when_it_was_made():
    assert abs(born(new_id("stream")) - datetime.now(UTC).timestamp()) < 1.0
    assert born("stream_!") == born("") == 0.0


def test_ten_minutes_after_its_end_a_stream_is_gone(log, engine, wall):
    recording = begun(log, count=1)
    recording.end("done")
    log.flush()
    wall.now += timedelta(seconds=599)
    assert read(log, recording) == [frame(0)]
    wall.now += timedelta(seconds=2)
    with pytest.raises(NotFound):
        log.follow(recording.id, "acme", 0)
    log.tidy()
    assert rows(engine) == rows(engine, pieces) == 0


def test_a_stream_whose_process_died_ends_with_an_error_and_is_deleted_later(log, engine, wall):
    recording = begun(log, count=1)
    log.flush()
    wall.now += timedelta(seconds=30)
    follower = elsewhere(engine, wall).follow(recording.id, "acme", 0, 0.0)
    assert next(follower) == [frame(0)]
    with pytest.raises(LlmApiError, match="cut off"):
        list(follower)
    wall.now += timedelta(minutes=2)
    log.tidy()
    wall.now += timedelta(minutes=11)
    log.tidy()
    assert rows(engine) == 0


def test_a_long_silence_is_no_death(engine, wall):
    time = [0.0]
    log = StreamLog(engine, now=wall, clock=lambda: time[0])
    recording = begun(log, count=1)
    log.flush()
    wall.now, time[0] = wall.now + timedelta(seconds=30), 30.0
    log.care()
    follower = elsewhere(engine, wall).follow(recording.id, "acme", 1, 0.0)
    assert next(follower) == []


def test_a_stream_too_long_to_be_kept_is_told_to_whom_reads_it_on(log, engine, wall):
    room = 3 * (len(frame(0)) + EVENT)
    recording = begun(log, count=5, room=room)
    recording.end("done")
    with pytest.raises(StorageFull, match="too much"):
        read(log, recording)
    log.flush()
    with pytest.raises(StorageFull, match="too much"):
        read(elsewhere(engine, wall), recording)
    assert elsewhere(engine, wall).whole(recording.id, "acme") is None


@pytest.mark.parametrize(("bounds", "left"), [({"most": 1000}, 1000), ({"most_per_tenant": 500}, 1000)])
def test_streams_are_bounded_for_each_tenant_and_in_all_and_the_newest_stay(engine, wall, bounds, left):
    log = StreamLog(engine, now=wall, **bounds)
    kept = []
    for number in range(20):
        recording = begun(log, tenant="ab"[number % 2])
        recording.append(b"x" * (100 - EVENT - 2) + b"\n\n")
        recording.end("done")
        log.flush()
        wall.now += timedelta(seconds=1)
        kept.append(recording.id)
    log.tidy()
    with reading(engine) as connection:
        assert sorted(connection.execute(select(streams.c.id)).scalars()) == sorted(kept[10:])
        assert connection.scalar(select(func.sum(streams.c.size))) == left


def test_only_a_stream_that_came_to_its_good_end_is_whole(log):
    good, failed = begun(log, count=3), begun(log, count=2)
    good.end("done")
    failed.end("failed")
    assert log.whole(good.id, "acme") is None  # not stored yet
    log.flush()
    assert log.whole(good.id, "acme") == b"".join(said(3))
    assert log.whole(failed.id, "acme") is log.whole(good.id, "other") is None


def test_a_database_that_takes_nothing_breaks_no_stream_and_is_tried_again(database, engine, wall):
    log = StreamLog(database.open(patience=0.1), now=wall)
    recording = begun(log, count=2)
    with database.held_up("stream_pieces"):
        assert not log.flush()
    recording.append(frame(2))
    assert log.flush()
    recording.end("done")
    assert log.flush()
    assert read(elsewhere(engine, wall), recording) == said(3)


def test_the_life_of_a_stream_ends_with_its_last_reader_unless_it_is_to_be_finished(log):
    for finish in (False, True):
        life = Lifetime(60)
        recording = Recording("acme", life, finish=finish)
        log.keep(recording)
        follower = log.follow(recording.id, "acme", 0, 0.0)
        next(follower)
        recording.leave()  # the first reader: another one is there
        assert not life.ended
        follower.close()
        assert life.ended is not finish


def test_streams_are_written_while_they_run(engine):
    log = StreamLog(engine)
    log.start()
    recording = begun(log, count=2)
    follower = StreamLog(engine).follow(recording.id, "acme", 0, 30.0)
    assert next(follower) == said(2)
    recording.end("done")
    log.close()
    assert list(follower) == []
