"""Embeddings: every text its vector, all of one model, in bounded memory."""

import base64
import struct
from dataclasses import replace

import pytest

from llmapi.core.calls import Call, Choice, Completion, Facts, Target, Usage
from llmapi.core.errors import ProviderInvalid, ValidationFailed
from llmapi.core.money import FREE
from llmapi.core.reply import Reply
from llmapi.tasks.embed import SLICE, EmbedTask, embed_calls, embedding_base
from llmapi.tasks.tab import Tab
from tests.tasks.scripted import BASE

EMBEDS = frozenset({"embeddings"})
MINILM = replace(BASE, task="embed", targets=(Target("local", "all-minilm-l6-v2", EMBEDS),))
OPENAI = Target("openai", "text-embedding-3-small", EMBEDS)
LARGE = replace(BASE, targets=(OPENAI,))
VECTOR = (0.6, 0.8, 0.0)


class Free:
    def cost(self, target, usage):
        return FREE


class Embedder:
    """A gateway that gives every text the same vector and keeps what it was asked."""

    def __init__(self, vector=VECTOR, lost=0) -> None:
        self.vector, self.lost = vector, lost
        self.calls: list[Call] = []

    def __call__(self, call: Call) -> Reply:
        self.calls.append(call)
        vectors = (self.vector,) * (len(call.inputs) - self.lost)
        return Reply.of(Completion(usage=Usage(len(call.inputs)), finish="stop", vectors=vectors), Facts())


def embed(embedder, base=MINILM, **wanted):
    return EmbedTask().answer(Tab(embedder, Free()), base, {"inputs": ["a", "b"], **wanted})["vectors"]


def test_a_list_and_its_base64_hold_the_same_numbers_of_32_bits():
    lists, texts = embed(Embedder()), embed(Embedder(), encoding_format="base64")
    assert [list(struct.unpack("<3f", base64.b64decode(text))) for text in texts] == lists
    assert lists[0] == pytest.approx(VECTOR)


def test_many_texts_are_asked_for_in_slices_one_after_the_other_and_keep_their_order():
    embedder = Embedder()
    inputs = [str(number) for number in range(SLICE + 1)]
    assert len(embed(embedder, inputs=inputs)) == SLICE + 1
    assert [text for call in embedder.calls for text in call.inputs] == inputs
    assert max(len(call.inputs) for call in embedder.calls) == SLICE


def test_the_usage_of_all_slices_is_added_up():
    tab = Tab(Embedder(), Free())
    EmbedTask().answer(tab, MINILM, {"inputs": ["a"] * (SLICE + 5)})
    assert tab.usage == Usage(SLICE + 5)


def test_a_cut_vector_has_length_one_again():
    assert embed(Embedder(), LARGE, dimensions=1)[0] == [1.0]


@pytest.mark.parametrize(("base", "dimensions"), [(MINILM, 2), (LARGE, 4)], ids=["not cuttable", "not that long"])
def test_vectors_are_cut_only_where_that_is_known_to_be_good(base, dimensions):
    with pytest.raises(ValidationFailed) as caught:
        embed(Embedder(), base, dimensions=dimensions)
    assert list(caught.value.fields) == ["dimensions"]


def test_a_model_that_makes_no_embeddings_is_refused_before_it_is_asked():
    embedder = Embedder()
    with pytest.raises(ValidationFailed) as caught:
        embed(embedder, BASE)
    assert list(caught.value.fields) == ["model"]
    assert embedder.calls == []


def test_no_other_model_stands_in_for_the_first_one():
    same = Target("openrouter", "openai/text-embedding-3-small", EMBEDS)
    other = Target("gemini", "gemini-embedding-001", EMBEDS)
    (call,) = embed_calls(replace(BASE, targets=(OPENAI, other, same)), ["a"])
    assert call.targets == (OPENAI, same)


def test_texts_to_be_compared_are_embedded_by_one_model():
    class Models:
        def resolve(self, name, *, own_key=False, stored=()):
            return Choice((OPENAI, Target("gemini", "gemini-embedding-001", EMBEDS)))

    call = embedding_base(Models(), replace(BASE, provider_key="sk-own"))
    assert (call.targets, call.provider_key) == ((OPENAI,), "")


def test_an_answer_with_a_vector_missing_is_no_answer():
    with pytest.raises(ProviderInvalid):
        embed(Embedder(lost=1))


def test_only_a_small_answer_is_worth_a_place_in_the_cache():
    (call,) = embed_calls(MINILM, ["a"])
    assert call.good(Completion(vectors=((0.1,) * 384,) * 40))
    assert not call.good(Completion(vectors=((0.1,) * 384,) * 400))
