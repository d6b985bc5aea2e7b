"""OpenAI's client lists our models and finds one by any of its names."""

import openai
import pytest


def test_the_list_is_openais_and_ours_at_once(sdk):
    rows = {row.id: row for row in sdk.models.list()}
    default = rows["default"]
    assert (default.object, default.owned_by, default.created) == ("model", "gemini", 0)
    assert (default.kind, default.candidates) == ("alias", [{"model": "gemini/gemini-flash-latest", "weight": 1.0}])
    assert rows["openai/gpt-4o-mini"].available is True


@pytest.mark.parametrize("name", ["default", "gpt-4o-mini", "gemini/gemini-2.5-pro", "gpt-4.9-of-tomorrow"])
def test_a_model_is_found_by_each_of_its_names(sdk, name):
    found = sdk.models.retrieve(name)
    assert (found.id, found.object, bool(found.owned_by)) == (name, "model", True)


@pytest.mark.parametrize("name", ["nobody-knows-it", "a b", "../../etc/passwd", "x" * 3000])
def test_a_model_nobody_knows_is_not_found(sdk, name):
    with pytest.raises(openai.NotFoundError) as missing:
        sdk.models.retrieve(name)
    assert (missing.value.code, missing.value.param) == ("model_not_found", "model")
