"""/v1/usage and /v1/costs: what a query asks is what its rows add up to, as JSON and CSV, of one's own tenant alone."""

import csv
import io
from datetime import UTC, datetime, time
from decimal import Decimal
from urllib.parse import quote

import pytest
from pydantic import SecretStr

from tests.api.booking import application
from tests.costs.booked import NOON, counted, days, grouped, mixed, row

ROWS = mixed(120, NOON, NOON + days(5))
FORMULAS = {"=1+1", "+1", "-1", "@sum", "\t=1"}
ODD = [row(datetime(2026, 10, 1, 9, tzinfo=UTC), user=name) for name in FORMULAS]
RANGE = "from=2026-11-18&to=2026-11-30"
KEYS = (SecretStr("default:operators-key-0123456789"), SecretStr("acme:tenants-key-0123456789"))
OWN = {"Authorization": "Bearer tenants-key-0123456789"}
OPERATOR = {"Authorization": "Bearer operators-key-0123456789"}


@pytest.fixture(scope="module")
def client(templates, tmp_path_factory):
    with application(templates, tmp_path_factory.mktemp("usage"), [*ROWS, *ODD]) as client:
        yield client


def shown(sums):
    """Return plain sums in the words of /v1/usage."""
    same = ("requests", "failures", "kept", "input_tokens", "output_tokens", "cached_tokens", "reasoning_tokens")
    total = sums["input_tokens"] + sums["output_tokens"]
    return {name: sums[name] for name in same} | {"total_tokens": total, "duration_s": sums["duration"]}


def test_use_is_told_by_day_and_group(client):
    told = client.get(f"/v1/usage?{RANGE}&interval=day&group_by=model,batch").json
    expected = grouped(ROWS, lambda each: (each["at"].date().isoformat(), each["model"], each["batch"]))
    found = {(line["start"][:10], line["group"]["model"], line["group"]["batch"]): line for line in told["data"]}
    assert {key: shown(sums) for key, sums in expected.items()} == {
        key: {name: line[name] for name in shown(counted([]))} for key, line in found.items()
    }
    assert told["total"] == shown(counted(ROWS))
    assert (told["from"], told["to"]) == ("2026-11-18T00:00:00.000Z", "2026-11-30T00:00:00.000Z")
    assert (told["interval"], told["group_by"], told["next"]) == ("day", ["model", "batch"], None)


def test_costs_are_decimal_strings_and_what_has_no_price_is_counted_apart(client):
    told = client.get(f"/v1/costs?{RANGE}&group_by=key").json
    for line in told["data"]:
        sums = counted(each for each in ROWS if each["key"] == line["group"]["key"])
        assert [Decimal(line[name]) * 10**9 for name in ("cost", "saved")] == [sums["cost"], sums["saved"]]
        assert (line["requests"], line["unpriced_requests"]) == (sums["requests"], sums["unpriced"])
    assert told["currency"] == "USD" and told["total"]["unpriced_requests"] == counted(ROWS)["unpriced"] > 0


def test_pages_follow_each_other(client):
    address, seen = f"/v1/usage?{RANGE}&interval=hour&group_by=user&limit=7", []
    page = client.get(address).json
    while page["next"]:
        seen += page["data"]
        page = client.get(f"{address}&cursor={page['next']}").json
    assert seen + page["data"] == client.get(f"{address[:-1]}1000").json["data"]
    assert len(seen) > 50


def test_filters_name_values_and_an_empty_one_means_nobody(client):
    rows = [each for each in ROWS if each["user"] == "" and each["project"] == "red"]
    assert client.get(f"/v1/usage?{RANGE}&user=&project=red").json["total"] == shown(counted(rows))
    rows = [each for each in ROWS if each["batch"]]
    assert client.get(f"/v1/usage?{RANGE}&batch=true").json["total"] == shown(counted(rows))


def test_a_key_is_named_by_its_public_id(client):
    key = ROWS[0]["key"]
    rows = [each for each in ROWS if each["key"] == key]
    assert client.get(f"/v1/usage?{RANGE}&key_id={key}").json["total"] == shown(counted(rows))


def test_instants_may_stand_in_any_zone(client):
    start, end = "2026-11-19T05:30:00.5+05:30", "2026-11-20T23:00:00-01:00"
    told = client.get(f"/v1/usage?from={quote(start)}&to={quote(end)}").json
    assert (told["from"], told["to"]) == ("2026-11-19T00:00:00.500Z", "2026-11-21T00:00:00.000Z")


def test_the_usual_range_is_the_last_thirty_days(client):
    told = client.get("/v1/usage").json
    start, end = (datetime.fromisoformat(told[name]) for name in ("from", "to"))
    assert start.time() == time(0) and days(30) <= end - start < days(31)


class TestCsv:
    def test_it_tells_what_json_tells(self, client):
        address = f"/v1/costs?{RANGE}&interval=day&group_by=user,batch"
        answer = client.get(address, headers={"Accept": "text/csv"})
        assert answer.content_type == "text/csv; charset=utf-8"
        assert answer.headers["Content-Disposition"] == 'attachment; filename="costs.csv"'
        rows = list(csv.DictReader(io.StringIO(answer.text)))
        lines = client.get(address).json["data"]
        for line, cells in zip(lines, rows, strict=True):
            group = line.pop("group")
            group["batch"] = str(group["batch"]).lower()
            assert cells == {name: str(value) for name, value in line.items()} | group

    def test_a_field_asks_for_it_too_and_pages_are_linked(self, client):
        answer = client.get(f"/v1/usage?{RANGE}&group_by=user&limit=3&format=csv")
        address = answer.headers["Link"].removeprefix("<").partition(">")[0]
        rest = client.get(address)
        assert rest.status_code == 200 and "Link" not in rest.headers
        assert len(answer.text.splitlines() + rest.text.splitlines()) == 2 + 4

    def test_no_cell_is_a_formula(self, client):
        text = client.get("/v1/usage?from=2026-10-01&to=2026-10-02&group_by=user&format=csv").text
        assert {each["user"] for each in csv.DictReader(io.StringIO(text))} == {f"'{name}" for name in FORMULAS}


WRONG = [
    ("from=yesterday", "from"),
    ("from=2026-11-18T00:00:00", "from"),
    ("from=0001-01-01", "from"),
    ("to=9999-12-31T23:59:59Z", "to"),
    ("from=2026-13-01", "from"),
    ("from=2026-11-18&to=2026-11-18", "to"),
    ("from=2026-01-01&to=2026-11-18&interval=hour", "from"),
    ("from=2026-01-01&to=2026-11-18&group_by=user,model", "from"),
    ("interval=week", "interval"),
    ("group_by=secret", "group_by"),
    ("group_by=model,model", "group_by"),
    ("user=%00", "user"),
    ("limit=0", "limit"),
    ("limit=10001", "limit"),
    ("cursor=!", "cursor"),
    ("cursor=WzFd&group_by=user", "cursor"),
    ("cursor=WzEsIlx1MDAwMCJd&group_by=user", "cursor"),
    ("cursor=W3RydWVd", "cursor"),
    ("cursor=WzFlOTldCg", "cursor"),
    ("format=xml", "format"),
    ("what=else", "what"),
]


@pytest.mark.parametrize("door", ["usage", "costs"])
def test_what_cannot_be_asked_is_refused_by_name(client, door):
    for query, field in WRONG:
        answer = client.get(f"/v1/{door}?{query}")
        assert (answer.status_code, [each["field"] for each in answer.json["errors"]]) == (422, [field]), query


class TestTenants:
    @pytest.fixture
    def client(self, templates, tmp_path):
        rows = [row(tenant="default"), row(tenant="acme"), row(tenant="acme"), row(tenant="other")]
        with application(templates, tmp_path, rows, auth="required", api_keys=KEYS) as client:
            yield client

    def asked(self, client, query, headers):
        return client.get(f"/v1/usage?{RANGE}{query}", headers=headers)

    def test_each_sees_its_own_calls(self, client):
        assert self.asked(client, "", OWN).json["total"]["requests"] == 2
        assert self.asked(client, "", OPERATOR).json["total"]["requests"] == 1

    def test_an_operator_sees_others_by_name_and_all_by_group(self, client):
        assert self.asked(client, "&tenant=other", OPERATOR).json["total"]["requests"] == 1
        lines = self.asked(client, "&group_by=tenant", OPERATOR).json["data"]
        assert {line["group"]["tenant"]: line["requests"] for line in lines} == {"default": 1, "acme": 2, "other": 1}
