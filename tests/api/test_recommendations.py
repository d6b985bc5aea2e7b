"""/v1/recommendations: of one's own ledger, over as many days as asked, with a calculation."""

import pytest
from pydantic import SecretStr

from llmapi.core.clock import utc_now
from llmapi.setting_tables import Price
from tests.api.booking import application
from tests.costs.booked import days, row

KEYS = (SecretStr("default:operators-key-0123456789"), SecretStr("acme:tenants-key-0123456789"))
OPERATOR = {"Authorization": "Bearer operators-key-0123456789"}
TENANT = {"Authorization": "Bearer tenants-key-0123456789"}
PRICES = {"gemini/cheap": Price(input=0.1, output=0.4), "openai/cheaper": Price(input=0.05, output=0.2)}


@pytest.fixture(scope="module")
def client(templates, tmp_path_factory):
    rows = [row(utc_now() - days(age), question="q" * 64, cost=500_000_000) for age in (1, 2, 10) for _ in range(15)]
    settings = {"auth": "required", "api_keys": KEYS, "prices": PRICES, "aliases": {"lower": "gemini/cheap"}}
    settings["google_api_key"] = SecretStr("AIzaSyFakeFakeFakeFakeFakeFakeFakeFake")
    with application(templates, tmp_path_factory.mktemp("advice"), rows, **settings) as client:
        yield client


def test_each_says_what_to_do_and_how_it_was_reckoned(client):
    told = client.get("/v1/recommendations", headers=OPERATOR).json
    assert told["currency"] == "USD"
    cheaper, repeats = told["data"]
    assert repeats["kind"] == "cacheable_repeats"
    assert (repeats["saves"], repeats["saves_monthly"]) == ("14.5", "62.142857142")
    assert repeats["about"] == {"task": "text", "provider": "gemini", "model": "small"}
    assert repeats["calculation"]["numbers"] == {"questions": 1, "calls": 30, "saves_nanos": 14_500_000_000}
    assert cheaper["calculation"]["numbers"]["candidate"] == "gemini/cheap"
    assert cheaper["saves"] == "14.9991"


def test_it_looks_back_as_far_as_it_is_told(client):
    told = client.get("/v1/recommendations?days=31", headers=OPERATOR).json
    assert [each["saves"] for each in told["data"] if each["kind"] == "cacheable_repeats"] == ["22"]


def test_another_tenants_calls_are_not_looked_at(client):
    assert client.get("/v1/recommendations?days=31", headers=TENANT).json["data"] == []


def test_a_range_has_bounds(client):
    for wanted in ("0", "32", "x"):
        answer = client.get(f"/v1/recommendations?days={wanted}", headers=OPERATOR)
        assert (answer.status_code, [each["field"] for each in answer.json["errors"]]) == (422, ["days"])
