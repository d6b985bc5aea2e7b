import string

from hypothesis import given
from hypothesis import strategies as st

from llmapi.tenants.key_words import LETTERS, id_of, new_key, new_secret

KEY = new_key()[1]


def test_a_new_key_tells_its_id_and_nothing_twice():
    made = [new_key() for _ in range(200)]
    assert [id_of(key) for _, key in made] == [id for id, _ in made]
    assert len({id for id, _ in made}) == len({key for _, key in made}) == 200
    assert all(len(id) == 16 and set(id) <= set(string.ascii_lowercase + string.digits) for id, _ in made)


def test_ids_sort_by_the_time_they_were_made():
    early = new_key()[0]
    while (late := new_key()[0])[:10] == early[:10]:
        pass
    assert early < late


def test_a_second_secret_of_an_id_is_another_one():
    id, key = new_key()
    other = new_secret(id)
    assert (id_of(other), other == key) == (id, False)


def test_a_secret_holds_256_bits_in_letters_that_need_no_quoting():
    prefix, id, rest = KEY.split("_")
    assert (prefix, len(rest)) == ("lak", 43 + 6)
    assert set(rest) <= set(LETTERS)


@given(st.integers(0, len(KEY) - 1), st.sampled_from(LETTERS))
def test_one_wrong_letter_is_noticed(position, letter):
    wrong = KEY[:position] + letter + KEY[position + 1 :]
    assert wrong == KEY or id_of(wrong) is None


@given(st.integers(4, len(KEY) - 2))
def test_two_letters_changed_for_each_other_are_noticed(position):
    wrong = KEY[:position] + KEY[position + 1] + KEY[position] + KEY[position + 2 :]
    assert wrong == KEY or id_of(wrong) is None


@given(st.one_of(st.text(), st.from_regex(r"lak_[0-9a-z]{8,20}_[0-9A-Za-z]{49}", fullmatch=True)))
def test_what_was_never_a_key_is_none(text):
    assert id_of(text) is None


@given(st.integers(0, len(KEY) - 1), st.text(min_size=1, max_size=3))
def test_a_cut_or_longer_key_is_none(cut, more):
    assert id_of(KEY[:cut]) is None
    assert id_of(KEY + more) is None
    assert id_of(more + KEY) is None
