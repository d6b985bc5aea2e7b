"""The embedding model for real: what its vectors promise, and what is remembered of them."""

import math
import threading

import pytest

from llmapi.providers.embeddings import DIMENSIONS, LONGEST, MiniLM

PETS = ["My cat sleeps on the sofa.", "The bank raised its rates.", "He repaired the old bicycle."]


@pytest.fixture(scope="module")
def model():
    return MiniLM()


def dot(one, other):
    return sum(a * b for a, b in zip(one, other, strict=True))


def test_a_vector_has_length_one(model):
    for vector in model.embed([*PETS, "", "  "]):
        assert len(vector) == DIMENSIONS
        assert math.hypot(*vector) == pytest.approx(1.0, abs=1e-5)


def test_the_sentence_that_means_the_same_is_the_closest(model):
    question, *known = model.embed(["A kitten is napping on the couch", *PETS])
    assert max(known, key=lambda vector: dot(vector, question)) == known[0]


def test_a_text_has_the_same_vector_alone_and_among_others():
    texts = [" ".join(["word", *PETS] * size) for size in range(1, 12)]
    together = MiniLM().embed(texts)
    alone = MiniLM()
    for text, vector in zip(texts, together, strict=True):
        assert alone.embed([text])[0] == pytest.approx(vector, abs=1e-5)


def test_vectors_come_in_the_order_of_the_texts(model):
    texts = ["long " * 90, "short", "middle " * 20, "short"]
    assert model.embed(texts) == [model.embed([text])[0] for text in texts]


def test_only_the_first_tokens_are_read_and_counted(model):
    long = "tree " * LONGEST
    found = model.embed_counted([long, long + "house " * 5000])
    assert found.vectors[0] == found.vectors[1]
    assert found.tokens == 2 * LONGEST


def test_tokens_are_counted_with_the_two_that_frame_a_text(model):
    assert model.embed_counted(["a cat", "hello"]).tokens == 4 + 3


def test_a_remembered_text_counts_like_a_new_one():
    model = MiniLM()
    first, again = (model.embed_counted(["a cat", "a cat"]) for _ in range(2))
    assert first == again and first.tokens == 8


def test_a_remembered_text_does_not_run_the_model(model):
    runs = []
    for _ in range(2):
        model.embed_counted(["asked for twice"], lambda: runs.append(1))
    assert len(runs) == 1


def test_no_more_vectors_are_remembered_than_allowed():
    model = MiniLM(keep=2)
    assert len(set(model.embed(["one", "two", "three", "four"]))) == 4
    assert model.kept == 2


def test_a_long_list_can_be_left_between_runs():
    model, runs = MiniLM(), []

    def go_on():
        runs.append(1)
        if len(runs) == 3:
            raise TimeoutError

    with pytest.raises(TimeoutError):
        model.embed_counted([f"{number} " * 300 for number in range(20)], go_on)
    assert len(runs) == 3
    assert model.kept == 4  # what two runs of two texts gave is not lost


def test_nothing_is_loaded_until_something_is_asked():
    model = MiniLM()
    assert model.embed([]) == []
    assert not model.loaded
    model.embed(["now"])
    assert model.loaded


def test_threads_that_come_first_together_load_the_model_once():
    model, engines, together = MiniLM(), [], threading.Barrier(4)

    def come():
        together.wait(5)
        engines.append(model.load())

    threads = [threading.Thread(target=come) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(engines) == 4 and len(set(map(id, engines))) == 1
