"""Labels: read back however a model dresses them, never guessed."""

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from llmapi.core.calls import Completion
from llmapi.core.errors import UnreadableAnswer, ValidationFailed
from llmapi.tasks.labels import CODES, MOST_LABELS, examples_of, labels_of, read_label, read_labels
from llmapi.tasks.questions import none_word

NAMES = st.lists(
    st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=12), min_size=2, max_size=8,
    unique_by=lambda name: name.casefold(),
)  # fmt: skip
WORDS = st.lists(
    st.from_regex(r"\A[a-z]{2,9}( [a-z]{2,9})?\Z"), min_size=2, max_size=8, unique_by=lambda name: name.replace(" ", "")
)
DRESSES = ["{}", "{}.", '"{}"', "**{}**", "`{}`", " {}\n", "Label: {}", "The answer is {}.", "Category: **{}**", "({})",
           "{}\n\nBecause of its words.", "FINAL ANSWER: {}", '{{"label": "{}"}}']  # fmt: skip


def read(text, *names):
    return read_label(Completion(text), labels_of(names))


@settings(deadline=None)
@given(NAMES, st.data())
def test_every_label_is_read_as_it_is_spelled(names, data):
    try:
        labels = labels_of(names)
    except ValidationFailed:
        assume(False)
    name = data.draw(st.sampled_from(names))
    assert read_label(Completion(name), labels) == name


@settings(deadline=None)
@given(WORDS, st.sampled_from(DRESSES), st.sampled_from([str, str.upper, str.title]), st.data())
def test_a_label_is_read_in_any_case_and_dress(names, dress, case, data):
    name = data.draw(st.sampled_from(names))
    assert read(dress.format(case(name)), *names) == name


@settings(deadline=None)
@given(WORDS, st.sampled_from(["{0}", "{0}.", "({0})", "{0}. {1}", "{0}) {1}", "{0}: {1}", "Label: {0}"]), st.data())
def test_a_label_is_read_by_its_code(names, dress, data):
    labels = labels_of(names)
    label = data.draw(st.sampled_from(labels))
    assert read_label(Completion(dress.format(label.code, label.name)), labels) == label.name


@settings(deadline=None)
@given(st.text(max_size=60), WORDS)
def test_any_text_gives_a_label_of_the_list_or_is_unreadable(text, names):
    try:
        assert read(text, *names) in names
    except UnreadableAnswer as error:
        assert error.details["said"] == text[:80]


@pytest.mark.parametrize(
    "text", ["", "This is not spam.", "spam or ham", "spam, ham", "spammy", "A. ham", "Z", "I cannot tell", "not_spam"]
)
def test_what_names_no_single_label_is_unreadable(text):
    with pytest.raises(UnreadableAnswer):
        read(text, "spam", "ham")


@pytest.mark.parametrize(
    ("text", "label"), [("not_spam", "Not spam"), ("NOT-SPAM.", "Not spam"), ("C++", "C++"), ("c#", "C#")]
)
def test_a_label_is_known_by_its_signs(text, label):
    assert read(text, "Not spam", "C++", "C#", "C") == label


def test_labels_that_differ_only_in_signs_are_told_apart_by_them():
    assert read("a_b", "a b", "a_b") == "a_b"
    with pytest.raises(UnreadableAnswer):
        read("a-b", "a b", "a_b")


def test_a_label_that_looks_like_a_code_is_its_own_code():
    codes = {label.name: label.code for label in labels_of(["B", "a", "other"])}
    assert codes == {"B": "B", "a": "A", "other": "C"}
    assert read("B", "B", "a", "other") == "B"


def test_every_label_of_the_longest_list_has_a_code_of_its_own():
    codes = [label.code for label in labels_of([f"label {n}" for n in range(MOST_LABELS)])]
    assert len(set(codes)) == MOST_LABELS == 64 and set(codes) == set(CODES)
    assert all(len(code) == 1 for code in codes)


def test_with_many_labels_small_and_capital_codes_differ():
    labels = labels_of([f"label {n}" for n in range(40)])
    assert read_label(Completion("a"), labels) == "label 26"
    assert read_label(Completion("A"), labels) == "label 0"


@pytest.mark.parametrize("labels", [[], ["a", "A "], ["a", " "], ["straße", "STRASSE"], [str(n) for n in range(65)]])
def test_labels_that_cannot_be_told_apart_or_are_too_many_are_refused(labels):
    with pytest.raises(ValidationFailed) as caught:
        labels_of(labels)
    assert list(caught.value.fields) == ["labels"]


def test_examples_take_the_spelling_of_the_labels():
    labels = labels_of(["Spam", "Ham"])
    assert examples_of([{"text": "t", "label": "spam"}], labels, False)[0].names == ("Spam",)
    assert examples_of([{"text": "t", "label": ["ham", "spam"]}], labels, True)[0].names == ("Ham", "Spam")


@pytest.mark.parametrize(("label", "multi"), [("eggs", False), (["Spam", "Ham"], False), (["Spam", "eggs"], True)])
def test_an_example_of_an_unknown_label_is_refused(label, multi):
    with pytest.raises(ValidationFailed) as caught:
        examples_of([{"text": "t", "label": label}], labels_of(["Spam", "Ham"]), multi)
    assert list(caught.value.fields) == ["examples"]


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("spam", {"spam"}),
        ("spam\nham", {"spam", "ham"}),
        ("Labels: spam, ham.", {"spam", "ham"}),
        ("- spam\n- Food, drink\n", {"spam", "Food, drink"}),
        ('["spam", "ham"]', {"spam", "ham"}),
        ("A. spam\nB. ham", {"spam", "ham"}),
        ("None.", set()),
        ("Labels: none", set()),
    ],
)
def test_several_labels_are_read(text, names):
    assert read_labels(Completion(text), labels_of(["spam", "ham", "Food, drink"]), "none") == names


@pytest.mark.parametrize("text", ["", "spam, eggs", "none, spam", "It is spam."])
def test_an_answer_with_anything_else_is_unreadable(text):
    with pytest.raises(UnreadableAnswer):
        read_labels(Completion(text), labels_of(["spam", "ham"]), "none")


def test_the_word_for_no_label_is_never_a_label():
    assert none_word(labels_of(["a", "b"])) == "none"
    assert none_word(labels_of(["None", "b"])) == "no label"
