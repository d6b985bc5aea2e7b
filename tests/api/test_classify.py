"""POST /v1/classify: a label, a probability each, and where the numbers come from."""

import pytest

from llmapi.setting_tables import TaskSettings, Vendor

ASKED = {"text": "I love it", "labels": ["positive", "negative"]}


def ask(client, **fields):
    return client.post("/v1/classify", json={**ASKED, **fields})


def test_a_model_without_logprobs_is_asked_several_times_and_the_votes_are_counted(client, gemini):
    gemini.script = ["positive", "negative", "Positive."]
    told = ask(client).json
    output = told["output"]
    assert (output["label"], output["evidence"], len(gemini.asked)) == ("positive", "votes", 3)
    assert output["probabilities"] == pytest.approx({"positive": 2 / 3, "negative": 1 / 3})
    assert output["confidence"] == pytest.approx(2 / 3)
    assert output["calibration"] == {"method": "none", "n": 0, "ece": None}
    assert len(told["attempts"]) == 3


def test_the_task_s_own_system_prompt_stands_before_its_rules(make, gemini):
    client = make(classify=TaskSettings(system="You are a critic.", max_tokens=16))
    gemini.default = "positive"
    ask(client)
    told = gemini.bodies[0]["systemInstruction"]["parts"][0]["text"]
    assert told.startswith("You are a critic.")
    assert "negative" in told


def test_below_the_bound_no_label_is_chosen(client, gemini):
    gemini.script = ["positive", "negative", "positive"]
    output = ask(client, abstain_below=0.9).json["output"]
    assert (output["label"], output["abstained"]) == (None, True)


@pytest.fixture
def openai_client(make, openai_upstream):
    house = Vendor(base_url=openai_upstream.base, abilities=("chat", "stream", "logprobs", "embeddings"))
    return make(vendors={"house": house}, classify=TaskSettings(model="house/m", max_tokens=16))


def test_logprobs_are_the_evidence_where_the_provider_gives_them(openai_client, openai_upstream):
    openai_upstream.default = "B"
    output = ask(openai_client).json["output"]
    assert (output["label"], output["evidence"], len(openai_upstream.asked)) == ("negative", "logprobs", 1)
    assert openai_upstream.bodies[0]["logprobs"] is True
    assert sum(output["probabilities"].values()) == pytest.approx(1.0)


def test_without_votes_the_embeddings_are_compared(make, gemini):
    client = make(votes=0, aliases={"embed": "gemini/gemini-embedding-001"})
    output = ask(client, labels=["love it", "hate it"]).json["output"]
    assert (output["label"], output["evidence"]) == ("love it", "embedding")
    assert "batchEmbedContents" in gemini.asked[0].path


def test_several_texts_come_back_in_their_order(client, gemini):
    gemini.behaviour = lambda asked: "negative" if "hate" in str(asked.body["contents"]) else "positive"
    told = client.post("/v1/classify", json={"texts": ["I love it", "I hate it"], "labels": ASKED["labels"]}).json
    assert [each["label"] for each in told["output"]["results"]] == ["positive", "negative"]


def test_any_number_of_labels_may_fit(client, gemini):
    gemini.default = "positive, negative"
    output = ask(client, multi_label=True).json["output"]
    assert sorted(output["label"]) == ["negative", "positive"]


def test_an_answer_that_names_no_label_is_refused(client, gemini):
    gemini.default = "I would rather not say."
    answer = ask(client)
    assert (answer.status_code, answer.json["code"]) == (502, "unreadable_answer")


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"labels": ["one"]}, "labels"),
        ({"labels": ["a", "A"]}, "labels"),
        ({"labels": [{"nom": "a"}, "b"]}, "labels"),
        ({"examples": [{"text": "x", "label": "elsewhere"}]}, "examples"),
        ({"abstain_below": 1.5}, "abstain_below"),
        ({"text": ""}, "text"),
    ],
)
def test_a_wrong_field_is_named(client, fields, named):
    answer = ask(client, **fields)
    assert answer.status_code == 422
    assert {error["field"].split(".")[0] for error in answer.json["errors"]} == {named}


def test_a_dry_run_counts_every_vote(client, gemini):
    assert ask(client, dry_run=True).json["estimate"]["calls"] == 3
    assert gemini.asked == []
