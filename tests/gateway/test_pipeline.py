"""Stages in a row are one handler."""

from llmapi.core.calls import Completion, Facts
from llmapi.core.reply import Reply
from llmapi.gateway.pipeline import compose
from tests.gateway.conftest import a_call


def test_the_first_stage_is_the_outermost_and_the_last_handler_answers():
    way = []

    def stage(name):
        def through(call, proceed):
            way.append(f"in {name}")
            reply = proceed(call)
            way.append(f"out {name}")
            return reply

        return through

    handler = compose([stage("a"), stage("b")], lambda call: Reply.of(Completion(call.id), Facts()))
    assert handler(a_call(id="x")).completion().text == "x"
    assert way == ["in a", "in b", "out b", "out a"]


def test_without_stages_the_last_handler_is_the_whole():
    assert compose([], lambda call: Reply.of(Completion("y"), Facts()))(a_call()).completion().text == "y"
