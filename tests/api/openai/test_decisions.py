"""POST /v1/decisions with OpenAI's own client: every kind of question, on every kind of evidence."""

import openai
import pytest

TICKET = "I was charged twice for my subscription, I want my money back."
REFUND = {"type": "predicate", "name": "refund", "instructions": "The customer wants money back."}
TEAM = {
    "type": "choice",
    "instructions": "Which team?",
    "choices": [{"value": "billing", "description": "payments and refunds"}, {"value": "shipping"}, {"value": False}],
}
LEVELS = [{"label": "low"}, {"label": "top"}]
URGENT = {"type": "score", "name": "urgency", "instructions": "How urgent?", "levels": LEVELS}


@pytest.fixture
def sdk(connect):
    return connect(local=True)


def test_every_kind_is_answered_in_its_place_from_token_probabilities(sdk, openai_upstream):
    openai_upstream.default = "A"
    found = sdk.decisions.create(model="gpt-4o-mini", input=TICKET, questions=[REFUND, TEAM, URGENT])
    refund, team, urgency = found.answers
    assert (refund.type, refund.name, refund.probability) == ("predicate", "refund", pytest.approx(1.0))
    assert (team.type, team.name, team.choice, team.confidence) == ("choice", None, "billing", pytest.approx(1.0))
    assert [row.value for row in team.probabilities] == ["billing", "shipping", False]
    assert (urgency.type, urgency.score) == ("score", pytest.approx(0.0))
    assert [(row.label, row.value) for row in urgency.probabilities] == [("low", 0), ("top", 1)]
    assert found.model == "gpt-4o-mini"
    assert found.usage.output_tokens == 3 and found.usage.total_tokens > 100
    assert found.model_extra["evidence"] == "logprobs"


def test_a_question_that_got_no_readable_answer_is_refused_and_the_rest_is_not(sdk, openai_upstream):
    openai_upstream.default = "A"
    openai_upstream.script = ["Hm.", "Hm."]
    found = sdk.decisions.create(model="gpt-4o-mini", input=TICKET, questions=[REFUND])
    assert found.answers[0].type == "refusal" and found.answers[0].name == "refund"
    found = sdk.decisions.create(model="gpt-4o-mini", input=TICKET, questions=[REFUND])
    assert found.answers[0].type == "predicate"


def test_a_model_without_token_probabilities_votes(sdk, gemini):
    gemini.script = ["yes", "yes", "no"]
    found = sdk.decisions.create(model="gemini-flash-latest", input=TICKET, questions=[REFUND])
    assert found.answers[0].probability == pytest.approx(2 / 3)
    assert found.model_extra["evidence"] == "votes"


def test_the_embedded_model_decides_by_meaning(sdk):
    angry = {"type": "predicate", "instructions": "The text is about gardening."}
    found = sdk.decisions.create(model="embed", input=TICKET, questions=[REFUND, angry, TEAM])
    refund, garden, team = found.answers
    assert refund.probability > garden.probability
    assert team.choice == "billing"
    assert found.model_extra["evidence"] == "embedding"


def test_a_conversation_with_calls_is_read_in_its_order_and_its_developer_rules(sdk, openai_upstream):
    openai_upstream.default = "A"
    items = [
        {"role": "developer", "content": "Refunds are for billing."},
        {"role": "user", "content": [{"type": "input_text", "text": "Where is it?"}]},
        {"type": "function_call", "call_id": "c1", "name": "track", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c1", "output": "lost"},
    ]
    sdk.decisions.create(model="gpt-4o-mini", input=items, questions=[REFUND])
    rules, text = (turn["content"] for turn in openai_upstream.asked[-1].body["messages"])
    assert rules.startswith("Refunds are for billing.") and "wants money back" in rules
    assert "user: Where is it?\n\nassistant: calls track with {}\n\ntool: lost" in text


@pytest.mark.parametrize(
    ("wrong", "param"),
    [
        ({"questions": []}, "questions"),
        ({"questions": [REFUND] * 401}, "questions"),
        ({"questions": [{"type": "essay", "instructions": "?"}]}, "questions.0.type"),
        ({"questions": [REFUND, {**TEAM, "choices": [{"value": "a"}]}]}, "questions.1.choices"),
        ({"questions": [{**TEAM, "choices": [{"value": "a"}, {"value": "A"}]}]}, "questions.0.choices"),
        ({"questions": [{**URGENT, "instructions": " "}]}, "questions.0.instructions"),
        ({"input": ""}, "input"),
        ({"input": [{"role": "user", "content": [{"type": "input_image", "image_url": "x"}]}]}, "input.0.content.0"),
        ({"input": [{"role": "user", "content": [{"type": ["input_text"], "text": "x"}]}]}, "input.0.content.0"),
        ({"model": "no-such-model"}, "model"),
    ],
)
def test_what_cannot_be_decided_is_refused_by_its_place(sdk, wrong, param):
    with pytest.raises(openai.BadRequestError) as caught:
        sdk.decisions.create(**{"model": "gpt-4o-mini", "input": TICKET, "questions": [REFUND], **wrong})
    assert caught.value.param == param


def test_a_provider_that_is_down_is_an_error_and_no_refusal(sdk, openai_upstream):
    openai_upstream.script = [500] * 9
    with pytest.raises(openai.InternalServerError):
        sdk.decisions.create(model="gpt-4o-mini", input=TICKET, questions=[REFUND])
