"""/v1/files with OpenAI's own client, and what it would never send."""

import http.client
import itertools
import json
import tracemalloc

import openai
import pytest
from pydantic import SecretStr

KEYS = [SecretStr("one:key-of-tenant-one"), SecretStr("two:key-of-tenant-two")]
LINE = b'{"custom_id": "a", "method": "POST", "url": "/v1/chat", "body": {}}\n'
SHAPE = {"message", "type", "param", "code"}


def upload(sdk, data=LINE, name="in.jsonl", **more):
    return sdk.files.create(file=(name, data), purpose="batch", **more)


def test_a_file_comes_back_as_it_was_sent(sdk):
    made = upload(sdk, LINE * 10_000)
    assert (made.object, made.bytes, made.filename) == ("file", len(LINE) * 10_000, "in.jsonl")
    assert (made.purpose, made.status) == ("batch", "processed")
    assert made.expires_at - made.created_at == 30 * 86_400
    assert sdk.files.content(made.id).read() == LINE * 10_000
    assert sdk.files.retrieve(made.id) == made


def test_a_deleted_file_is_gone(sdk):
    made = upload(sdk)
    assert sdk.files.delete(made.id).deleted
    for ask in (sdk.files.retrieve, sdk.files.content, sdk.files.delete):
        with pytest.raises(openai.NotFoundError):
            ask(made.id)
    assert sdk.files.list().data == []


def test_the_list_goes_page_by_page(sdk):
    made = [upload(sdk, name=f"{n}.jsonl").id for n in range(5)]
    assert [each.id for each in sdk.files.list(limit=2)] == made[::-1]  # the client turns the pages
    assert [each.id for each in sdk.files.list(limit=2, order="asc")] == made
    first = sdk.files.list(limit=3)
    assert (len(first.data), first.has_more) == (3, True)
    assert sdk.files.list(purpose="batch_output").data == []


def test_a_file_is_kept_as_long_as_its_owner_says(sdk):
    made = upload(sdk, expires_after={"anchor": "created_at", "seconds": 3600})
    assert made.expires_at - made.created_at == 3600


def test_a_foreign_file_is_answered_like_an_unknown_one(served):
    address = served(auth="required", api_keys=KEYS)
    one, two = (
        openai.OpenAI(base_url=f"{address}/v1", api_key=f"key-of-tenant-{who}", max_retries=0) for who in ("one", "two")
    )
    made = upload(one).id
    for ask in (two.files.retrieve, two.files.content, two.files.delete):
        told = []
        for id in (made, "file_unknown"):
            with pytest.raises(openai.NotFoundError) as refused:
                ask(id)
            told.append(refused.value.response.content)
        assert told[0] == told[1]
    assert two.files.list().data == []
    assert one.files.retrieve(made).id == made
    one.close()
    two.close()


@pytest.mark.parametrize(
    ("param", "more"),
    [
        ("purpose", {"purpose": "fine-tune"}),
        ("file", {"file": ("x", b"")}),
        ("expires_after", {"expires_after": {"anchor": "created_at", "seconds": 60}}),
        ("expires_after", {"expires_after": {"anchor": "now", "seconds": 3600}}),
        ("colour", {"extra_body": {"colour": "red"}}),
    ],
)
def test_a_wrong_form_is_refused_by_name_and_leaves_nothing(sdk, param, more):
    with pytest.raises(openai.BadRequestError) as refused:
        sdk.files.create(**{"file": ("x", LINE), "purpose": "batch", **more})
    assert refused.value.param == param
    assert sdk.files.list().data == []


def test_a_file_that_is_too_large_is_refused_and_leaves_nothing(connect):
    sdk = connect(max_file=4096)
    assert upload(sdk, b"x" * 4096).bytes == 4096
    for size in (4097, 200_000):
        with pytest.raises(openai.APIStatusError) as refused:
            upload(sdk, b"x" * size)
        assert (refused.value.status_code, refused.value.code) == (413, "payload_too_large")
    assert len(sdk.files.list().data) == 1


FORM = "multipart/form-data; boundary=b"
PART = b'--b\r\nContent-Disposition: form-data; name="file"; filename="%b"\r\n\r\n%b\r\n'
PURPOSE = b'--b\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nbatch\r\n'
SECONDS = b'--b\r\nContent-Disposition: form-data; name="expires_after[seconds]"\r\n\r\n%b\r\n'


@pytest.mark.parametrize(
    ("kind", "body", "status"),
    [
        ("application/json", b"{}", 415),
        ("application/x-www-form-urlencoded", b"purpose=batch", 415),
        ("multipart/form-data", b"--b--", 400),
        (FORM, b"", 400),
        (FORM, b"--b", 400),
        (FORM, PART % (b"x", b"data"), 400),  # it does not end
        (FORM, PURPOSE + b"--b--\r\n", 400),
        (FORM, PURPOSE + (PART % (b"x", b"data")) * 2 + b"--b--\r\n", 400),
        (FORM, PURPOSE * 20 + b"--b--\r\n", 413),
        (FORM, PURPOSE.replace(b'; name="purpose"', b"") + b"--b--\r\n", 400),
        (FORM, PURPOSE + SECONDS % (b"9" * 5000) + PART % (b"x", b"data") + b"--b--\r\n", 400),
        (FORM, PART % (b"\xff\xfe", b"data") + PURPOSE + b"--b--\r\n", 400),
        (FORM, PART % (b"..\\..\x00/etc/passwd", b"data") + PURPOSE + b"--b--\r\n", 200),
    ],
)
def test_odd_forms_are_refused_in_openais_shape(served, kind, body, status):
    connection = http.client.HTTPConnection(served().removeprefix("http://"), timeout=10)
    connection.request("POST", "/v1/files", body, {"Content-Type": kind})
    answer = connection.getresponse()
    told = json.loads(answer.read())
    connection.close()
    assert answer.status == status
    if status == 200:
        assert "/" not in told["filename"] and told["filename"].isprintable()
    else:
        assert set(told["error"]) == SHAPE


def test_a_large_file_is_not_held_in_memory(served):
    address = served().removeprefix("http://")
    head = b'--b\r\nContent-Disposition: form-data; name="file"; filename="x"\r\n\r\n'
    tail = b"\r\n" + PURPOSE + b"--b--\r\n"
    block = LINE * 1000
    times = 20 * 1_048_576 // len(block)
    length = len(head) + times * len(block) + len(tail)
    connection = http.client.HTTPConnection(address, timeout=30)
    tracemalloc.start()
    try:
        parts = itertools.chain([head], itertools.repeat(block, times), [tail])
        connection.request("POST", "/v1/files", parts, {"Content-Type": FORM, "Content-Length": str(length)})
        told = json.loads(connection.getresponse().read())
        connection.request("GET", f"/v1/files/{told['id']}/content")
        answer = connection.getresponse()
        read = sum(len(piece) for piece in iter(lambda: answer.read(65_536), b""))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
        connection.close()
    assert told["bytes"] == read == times * len(block)
    assert peak < 15_000_000  # most of it is what was imported meanwhile
