"""Code: what is asked, how a broken answer is repaired, and that nothing broken is called verified."""

import pytest

from llmapi.core.calls import Usage
from llmapi.core.errors import CallEnded, ProviderUnavailable, UnreadableAnswer
from llmapi.tasks.code import answer_code, code_call, verification_of
from tests.tasks.scripted import BASE, Model, said

GOOD = "```python\nx = 1\n```"
BROKEN = "```python\nx = (\n```"
WORSE = "```javascript\nlet a = ;\nlet b = ;\n```"
CALL = code_call(BASE, prompt="Set x.", language="py")


def answer(model, **wishes):
    usual = {"language": "python", "verify": "syntax", "max_repairs": 1, "explain": False}
    return answer_code(model.ask, CALL, **(usual | wishes))


def test_everything_the_caller_wrote_is_in_the_users_turn():
    call = code_call(BASE, prompt="PROMPT", language="LANG", context="CONTEXT", tests="TESTS", system="Be terse.")
    rules, question = call.messages
    assert rules.role == "system" and rules.text.startswith("Be terse.\n\n")
    assert all(word in question.text and word not in rules.text for word in ("PROMPT", "LANG", "CONTEXT", "TESTS"))


def test_an_explanation_is_asked_for_only_when_wanted():
    assert "explain" in code_call(BASE, prompt="a", language="c", explain=True).messages[0].text
    assert "explain" not in CALL.messages[0].text


def test_good_code_comes_back_alone_and_verified():
    assert answer(Model(f"Here:\n{GOOD}\nBye.")) == {
        "code": "x = 1",
        "language": "python",
        "explanation": None,
        "verification": {"status": "verified", "level": "syntax", "errors": [], "repairs": 0},
    }


def test_broken_code_goes_back_with_its_errors():
    model = Model(BROKEN, GOOD)
    assert answer(model)["verification"] == {"status": "verified", "level": "syntax", "errors": [], "repairs": 1}
    sent = model.calls[1].messages
    assert sent[-2].text == BROKEN and "line 1, column 5: '(' was never closed" in sent[-1].text


def test_a_cut_answer_is_asked_to_be_shorter():
    model = Model(said(BROKEN, "length"), GOOD)
    answer(model)
    assert "write less" in model.calls[1].messages[-1].text


@pytest.mark.parametrize("repairs", [0, 1, 3])
def test_what_still_fails_is_failed_after_so_many_repairs_and_no_more(repairs):
    model = Model(*[BROKEN] * (repairs + 1))
    found = answer(model, max_repairs=repairs)["verification"]
    assert (found["status"], found["repairs"], found["errors"][0]["line"]) == ("failed", repairs, 1)
    assert len(model.calls) == repairs + 1


def test_a_repair_sees_the_last_answer_alone():
    model = Model(BROKEN, BROKEN, GOOD)
    answer(model, max_repairs=2)
    assert len(model.calls[1].messages) == len(model.calls[2].messages)


def test_of_broken_answers_the_least_broken_is_kept():
    model = Model("```javascript\nlet a = ;\n```", WORSE, "")
    assert answer(model, language="js", max_repairs=2)["code"] == "let a = ;"


def test_without_verification_nothing_is_checked_or_repaired():
    assert answer(Model(BROKEN), verify="none")["verification"] == {
        "status": "unchecked", "level": "none", "errors": [], "repairs": 0
    }  # fmt: skip


def test_tests_are_not_run_so_the_level_is_syntax():
    assert answer(Model(GOOD), verify="tests")["verification"]["level"] == "syntax"


def test_an_unknown_language_is_unchecked_and_keeps_its_name():
    output = answer(Model("```\n+++.\n```"), language="Brainfuck")
    assert output["language"] == "Brainfuck" and output["verification"]["status"] == "unchecked"


def test_an_answer_cut_at_the_token_limit_that_parses_is_verified():
    assert answer(Model(said("```python\nx = 1", "length")))["verification"]["status"] == "verified"


def test_no_code_at_all_is_unreadable_and_tells_what_it_cost():
    with pytest.raises(UnreadableAnswer) as caught:
        answer(Model("", "```python\n"))
    assert caught.value.usage == Usage(20, 2)


def test_a_provider_that_fails_during_a_repair_does_not_lose_the_answer_in_hand():
    output = answer(Model(BROKEN, ProviderUnavailable("away")))
    assert output["code"] == "x = (" and output["verification"]["status"] == "failed"
    assert output["verification"]["repairs"] == 0


def test_a_caller_who_left_ends_the_repairs():
    with pytest.raises(CallEnded):
        answer(Model(BROKEN, CallEnded("left")))


def test_the_explanation_is_given_when_wanted():
    assert answer(Model(f"{GOOD}\nIt sets x."), explain=True)["explanation"] == "It sets x."


@pytest.mark.parametrize(
    ("text", "finish", "verify", "kept"),
    [(GOOD, "stop", "syntax", True), (GOOD, "length", "syntax", False), (BROKEN, "stop", "syntax", False),
     (BROKEN, "stop", "none", True), ("", "stop", "none", False)],
)  # fmt: skip
def test_only_whole_answers_that_pass_are_worth_keeping(text, finish, verify, kept):
    model = Model(GOOD)
    answer(model, verify=verify)
    assert model.calls[0].good(said(text, finish)) is kept


def test_a_streams_code_is_judged_by_the_same_rule():
    assert verification_of("x = (", "py", "syntax")["status"] == "failed"
    assert verification_of("x = (", "py", "none")["status"] == "unchecked"
