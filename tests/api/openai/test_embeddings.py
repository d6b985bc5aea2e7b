"""POST /v1/embeddings with OpenAI's own client: the embedded model as it is, vendors as fakes."""

import math

import openai
import pytest

from llmapi.tasks.embed import SLICE


@pytest.fixture
def sdk(connect):
    return connect(local=True)


def cosine(one, other):
    return sum(a * b for a, b in zip(one, other, strict=True))


def test_the_embedded_model_tells_near_from_far(sdk):
    texts = ["The cat sleeps on the sofa.", "A kitten naps on the couch.", "Interest rates rose again."]
    found = sdk.embeddings.create(model="embed", input=texts)
    cat, kitten, rates = (row.embedding for row in found.data)
    assert [row.index for row in found.data] == [0, 1, 2]
    assert len(cat) == 384 and math.isclose(cosine(cat, cat), 1.0, abs_tol=1e-5)
    assert cosine(cat, kitten) > 0.5 > cosine(cat, rates)
    assert found.model == "all-minilm-l6-v2"
    assert found.usage.prompt_tokens == found.usage.total_tokens > 10


def test_base64_and_numbers_are_the_same_vector(sdk):
    usual = sdk.embeddings.create(model="embed", input="Hello")  # the client asks for base64
    numbers = sdk.embeddings.create(model="embed", input="Hello", encoding_format="float")
    assert usual.data[0].embedding == numbers.data[0].embedding


def test_as_many_texts_as_openai_takes_come_back_in_their_order(sdk):
    texts = [f"text {number % 700}" for number in range(2048)]
    found = sdk.embeddings.create(model="embed", input=texts)
    again = sdk.embeddings.create(model="embed", input=texts[SLICE + 1])
    assert len(found.data) == 2048
    assert cosine(found.data[SLICE + 1].embedding, again.data[0].embedding) == pytest.approx(1.0, abs=1e-3)


def test_a_kept_answer_says_so_in_a_header(sdk):
    first = sdk.embeddings.with_raw_response.create(model="embed", input="Hello")
    second = sdk.embeddings.with_raw_response.create(model="embed", input="Hello")
    assert [each.headers["Cache-Status"] for each in (first, second)] == ["llmapi; fwd=miss", "llmapi; hit"]
    assert first.headers["x-ratelimit-limit-requests"]
    assert first.parse().data == second.parse().data


def test_a_vendors_vectors_can_be_cut_where_they_are_made_for_it(sdk, openai_upstream):
    whole = sdk.embeddings.create(model="text-embedding-3-small", input="Hello sea")
    short = sdk.embeddings.create(model="text-embedding-3-small", input="Hello sea", dimensions=4)
    beginning = whole.data[0].embedding[:4]
    length = math.sqrt(cosine(beginning, beginning))
    assert short.data[0].embedding == pytest.approx([number / length for number in beginning], abs=1e-6)
    assert whole.usage.prompt_tokens == 2


@pytest.mark.parametrize(
    ("wrong", "param"),
    [
        ({"input": [1, 2, 3]}, "input"),
        ({"input": [[1, 2], [3]]}, "input"),
        ({"input": ""}, "input"),
        ({"input": []}, "input"),
        ({"input": ["a"] * 2049}, "input"),
        ({"input": "a", "dimensions": 10}, "dimensions"),
        ({"input": "a", "model": "gpt-4o"}, "model"),
        ({"input": "a", "model": "no-such-model"}, "model"),
        ({"input": "a", "encoding_format": "hex"}, "encoding_format"),
    ],
)
def test_what_cannot_be_done_is_refused_by_its_name(sdk, wrong, param):
    with pytest.raises(openai.BadRequestError) as caught:
        sdk.embeddings.create(**{"model": "embed", **wrong})
    assert caught.value.param == param
    assert caught.value.type == "invalid_request_error"


def test_a_vendor_that_fails_is_an_error_of_the_clients_own_kind(sdk, openai_upstream):
    openai_upstream.script = [500] * 9
    with pytest.raises(openai.InternalServerError) as caught:
        sdk.embeddings.create(model="text-embedding-3-small", input="a")
    assert caught.value.code == "provider_unavailable"
