"""Which model a name stands for."""

import pytest

from llmapi.core.errors import BadSetting, ValidationFailed
from llmapi.providers.catalog import ALWAYS, Catalog
from llmapi.providers.routes import of_aliases
from llmapi.providers.rows import ABILITIES, MODELS, VENDORS, Vendor, can

ALIASES = {
    "default": "gemini/gemini-flash-latest",
    "text": "default",
    "code": "default",
    "classify": "gpt-4o-mini, default",
    "embed": "local/all-minilm-l6-v2",
}


@pytest.fixture
def catalog():
    return Catalog(of_aliases(ALIASES), {"gemini", "openai", "anthropic", "local"})


def names(choice):
    return [f"{target.provider}/{target.model}" for target in choice.targets]


@pytest.mark.parametrize(
    "name, meant",
    [
        ("gemini/gemini-flash-latest", "gemini/gemini-flash-latest"),
        ("gpt-4o-mini", "openai/gpt-4o-mini"),
        ("smollm2-135m-instruct", "local/smollm2-135m-instruct"),
        ("gemini-9-ultra", "gemini/gemini-9-ultra"),
        ("gpt-9", "openai/gpt-9"),
        ("o3-pro", "openai/o3-pro"),
        ("claude-haiku-9", "anthropic/claude-haiku-9"),
        ("default", "gemini/gemini-flash-latest"),
        ("text", "gemini/gemini-flash-latest"),
    ],
)
def test_a_name_stands_for_a_model(catalog, name, meant):
    assert names(catalog.resolve(name)) == [meant]


def test_an_alias_may_stand_for_several_best_first(catalog):
    assert names(catalog.resolve("classify")) == ["openai/gpt-4o-mini", "gemini/gemini-flash-latest"]


def test_candidates_without_a_key_are_passed_over():
    assert names(Catalog(of_aliases(ALIASES), {"gemini"}).resolve("classify")) == ["gemini/gemini-flash-latest"]


@pytest.mark.parametrize(
    "name, key",
    [
        ("gpt-4o-mini", "OPENAI_API_KEY"),
        ("groq/llama-3", "GROQ_API_KEY"),
        ("claude-opus-5", "ANTHROPIC_API_KEY"),
        ("default", "GOOGLE_API_KEY"),
        ("vllm/mine", "vllm is not configured"),
    ],
)
def test_a_model_whose_provider_has_no_key_says_which_is_missing(name, key):
    with pytest.raises(ValidationFailed) as caught:
        Catalog(of_aliases(ALIASES), {"local"}).resolve(name)
    assert key in caught.value.fields["model"][0]


@pytest.mark.parametrize(
    "name", ["nobody", "nobody/knows", "", " ", "gemini/../../x", "gemini/a?b", "gemini/", "/x", "a\nb", "x" * 200]
)
def test_a_name_nobody_knows_or_could_know_is_refused_by_field(catalog, name):
    with pytest.raises(ValidationFailed) as caught:
        catalog.resolve(name)
    assert list(caught.value.fields) == ["model"]


@pytest.mark.parametrize(
    "name, able",
    [
        ("gemini-flash-latest", "chat json_schema stream tools votes"),
        ("gpt-4o", "chat json_schema logprobs stream tools votes"),
        ("gpt-5-mini", "chat json_schema stream tools votes"),
        ("gpt-5.4-nano", "chat json_schema stream tools votes"),
        ("claude-haiku-4-5", "chat json_schema stream tools votes"),
        ("local/smollm2-135m-instruct", "chat json_schema stream"),
        ("local/all-minilm-l6-v2", "embeddings"),
        ("gemini-embedding-001", "embeddings"),
        ("openai/some-embedding-model", "embeddings"),
    ],
)
def test_a_model_can_what_its_row_or_its_name_says(catalog, name, able):
    (target,) = catalog.resolve(name).targets
    assert sorted(target.abilities) == able.split()


def test_a_known_model_brings_its_context(catalog):
    assert catalog.resolve("local/smollm2-135m-instruct").targets[0].context == 2048
    assert catalog.resolve("gemini-9-ultra").targets[0].context == 0


@pytest.mark.parametrize(
    "change, complaint",
    [
        ({"text": "code", "code": "text"}, "stands for itself"),
        ({"mine": "mine"}, "stands for itself"),
        ({"mine": "who-knows"}, "no known model"),
        ({"mine": "gemini/../x"}, "no known model"),
        ({"mine": " , "}, "stands for nothing"),
    ],
)
def test_an_alias_that_makes_no_sense_stops_the_start(change, complaint):
    with pytest.raises(BadSetting, match=complaint):
        Catalog(of_aliases({**ALIASES, **change}), {"gemini"})


@pytest.mark.parametrize("alias", ALWAYS)
def test_the_aliases_of_the_tasks_must_be_there(alias):
    with pytest.raises(BadSetting, match=alias):
        Catalog(of_aliases({name: "gpt-4o" for name in ALWAYS if name != alias}), {"openai"})


def test_a_vendor_of_ones_own_is_a_row():
    mine = Vendor("mine", "https://llm.example.org/v1", "MY_KEY", can("chat logprobs"))
    (target,) = Catalog(of_aliases(ALIASES), {"mine"}, vendors=[mine]).resolve("mine/team/model-7b").targets
    assert (target.provider, target.model) == ("mine", "team/model-7b")
    assert target.abilities == {"chat", "logprobs"}


def test_the_listing_says_what_each_model_is_and_what_is_missing():
    rows = {row["id"]: row for row in Catalog(of_aliases(ALIASES), {"local"}).listing()}
    assert set(ALWAYS) <= set(rows)
    assert "not for real work" in rows["local/smollm2-135m-instruct"]["description"]
    assert rows["local/smollm2-135m-instruct"]["available"] is True
    assert "OPENAI_API_KEY is not set" in rows["openai/gpt-4o"]["description"]
    assert rows["openai/gpt-4o"]["available"] is False
    assert rows["embed"] == {
        "id": "embed",
        "kind": "alias",
        "provider": "local",
        "abilities": ["embeddings"],
        "context": 256,
        "description": "Stands for local/all-minilm-l6-v2",
        "candidates": [{"model": "local/all-minilm-l6-v2", "weight": 1.0}],
        "available": True,
    }


def test_every_row_is_sound():
    vendors = {vendor.name: vendor for vendor in VENDORS}
    assert len(vendors) == len(VENDORS) and len({model.id for model in MODELS}) == len(MODELS)
    for model in MODELS:
        assert (model.abilities or vendors[model.provider].abilities) <= ABILITIES
        assert model.context > 0 and model.description
