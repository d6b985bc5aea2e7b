"""A request id is worked on once."""

import pytest

from llmapi.api.request_ids import ROW, RequestIds
from llmapi.core.errors import DuplicateRequestId


def give(answer):
    return lambda: answer


def test_the_same_id_with_the_same_body_gets_the_first_answer():
    ids = RequestIds()
    assert ids.once("t", "1", "body", give(b"first")) == (b"first", False)
    assert ids.once("t", "1", "body", give(b"second")) == (b"first", True)


def test_another_body_under_a_known_id_is_refused_and_another_tenant_is_not():
    ids = RequestIds()
    ids.once("t", "1", "body", give(b"first"))
    with pytest.raises(DuplicateRequestId, match="another body"):
        ids.once("t", "1", "other", give(b"second"))
    assert ids.once("u", "1", "other", give(b"second")) == (b"second", False)


@pytest.mark.parametrize("body", ["body", "other"])
def test_an_id_being_worked_on_is_refused(body):
    ids = RequestIds()

    def work():
        with pytest.raises(DuplicateRequestId, match="being worked on"):
            ids.once("t", "1", body, give(b"second"))
        return b"first"

    assert ids.once("t", "1", "body", work) == (b"first", False)


def test_a_failure_frees_the_id():
    ids = RequestIds()
    with pytest.raises(ZeroDivisionError):
        ids.once("t", "1", "body", lambda: bytes(1 // 0))
    assert ids.once("t", "1", "other", give(b"second")) == (b"second", False)


def test_an_answer_is_forgotten_after_its_time():
    now = [0.0]
    ids = RequestIds(ttl=60.0, clock=lambda: now[0])
    ids.once("t", "1", "body", give(b"first"))
    now[0] = 59.9
    assert ids.once("t", "1", "body", give(b"second")) == (b"first", True)
    now[0] = 60.1
    assert ids.once("t", "1", "other", give(b"second")) == (b"second", False)


def test_answers_take_no_more_room_than_there_is():
    ids = RequestIds(room=2 * (ROW + 5))
    for name in "123":
        ids.once("t", name, "body", give(b"12345"))
    again = [ids.once("t", name, "body", give(b"again"))[1] for name in "32"]
    assert again == [True, True]
    assert ids.once("t", "1", "body", give(b"again")) == (b"again", False)
    assert ids.once("t", "big", "body", give(bytes(9_999))) == (bytes(9_999), False)  # not kept, and no failure
