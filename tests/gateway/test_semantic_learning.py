"""What the cache by meaning learns on the gateway's line: who is asked whether answers mean the same, and how often."""

import threading

from llmapi.core.calls import Completion, Facts, Message, Usage
from llmapi.core.reply import Reply
from tests.gateway.by_meaning import Line

CITIES = ("France", "Spain", "Peru", "Japan", "Norway", "Kenya")
FORMS = ("What is the capital of {}?", "Tell me the capital city of {}", "Name the capital of {}")


class Judge:
    """Says what it is told to, and remembers that it was asked."""

    def __init__(self, says=True):
        self.says, self.asked, self.heard = says, [], threading.Event()

    def __call__(self, call, kept, fresh):
        self.asked.append((kept, fresh))
        self.heard.set()
        return self.says

    def close(self):
        pass


def questions(line):
    for form in FORMS:
        for city in CITIES:
            line.ask(form.format(city))


def test_doubtful_answers_are_judged_behind_the_caller_within_a_share_of_the_requests():
    judge = Judge()
    line = Line(policy="vcache", judge=judge, share=0.2, answer=lambda call: Reply.of(
        Completion(call.messages[-1].text, Usage(5, 2), "stop"), Facts()
    ))
    questions(line)
    assert judge.heard.wait(5.0)
    line.semantic.close()
    for thread in threading.enumerate():
        if thread.name.startswith("by-meaning"):
            thread.join(5.0)
    assert 1 <= len(judge.asked) <= 0.2 * len(CITIES) * len(FORMS)
    assert [line.semantic.stats(of)["judged"] for of in ("acme", None, "other")] == [len(judge.asked)] * 2 + [0]


def test_nobody_is_asked_to_judge_while_no_one_asks_for_answers_by_meaning():
    judge = Judge()
    line = Line(policy="vcache", judge=judge)
    for form in FORMS:
        line.ask(form.format("Peru"), max_error=None)
    line.semantic.close()
    assert judge.asked == []


def test_without_a_judge_equal_words_are_equal_answers():
    line = Line(policy="vcache", share=0.0)
    questions(line)
    assert line.spaces.stats()["labels"] > 0


def test_a_classification_is_compared_by_its_label_for_nothing():
    judge = Judge()
    line = Line(policy="vcache", judge=judge, answer=Completion("A.", Usage(5, 1), "stop"))
    for form in FORMS:
        text = f"<text>\n{form.format('Peru')}\n</text>"
        line.ask(text, task="classify", messages=(Message("system", "labels"), Message("user", text)))
    line.semantic.close()
    assert judge.asked == [] and line.spaces.stats()["labels"] == len(FORMS) - 1
