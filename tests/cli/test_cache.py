"""flask cache: stats, clear, warm and lookup."""

import json

import pytest
from sqlalchemy import select

from llmapi.core.clock import utc_now
from llmapi.db.engine import reading
from llmapi.db.tables.cache import marks
from llmapi.services import Services
from tests.cli.conftest import Run
from tests.costs.booked import book, row


def test_savings_are_told_of_one_tenant_or_of_all(services: Services, flask: Run) -> None:
    now = utc_now()
    book(services.engine, [row(now), row(now, cache="hit", saved=1_000_000, cost=0), row(now, tenant="acme")])
    mine = json.loads(flask("cache", "stats", "--tenant", "default").stdout)
    assert (mine["calls"]["exact"], mine["calls"]["miss"], mine["saved"]["amount"]) == (1, 1, "0.001")
    assert json.loads(flask("cache", "stats").stdout)["calls"]["miss"] == 2


def test_what_is_cleared_is_written_down_for_every_worker(services: Services, flask: Run) -> None:
    services.tenants.create("acme")
    assert flask("cache", "clear", "--tenant", "acme", "--template", "greeting").exit_code == 0
    assert flask("cache", "clear", "--everyone", "--all").stdout == "cleared for 2 tenants\n"
    with reading(services.engine) as connection:
        found = connection.execute(select(marks.c.tenant, marks.c.field).order_by(marks.c.id)).all()
    assert [tuple(each) for each in found] == [("acme", "all"), ("default", "all")]


def test_what_names_nothing_clears_nothing(flask: Run) -> None:
    assert flask("cache", "clear").exit_code == 2
    assert flask("cache", "clear", "--tag", "a", "--model", "b").exit_code == 2


def test_a_file_of_requests_becomes_a_job(services: Services, flask: Run) -> None:
    said = flask("cache", "warm", "--tenant", "default", "-", input='{"prompt": "Hi"}\n\n{"prompt": "Ho"}\n')
    job = services.jobs.get(said.stdout.strip(), "default")
    assert (job.kind, [each["prompt"] for each in (job.arguments or {})["requests"]]) == ("warm", ["Hi", "Ho"])
    wrong = flask("cache", "warm", "-", input='{"prompt": 5}\n')
    assert (wrong.exit_code, "line 1" in wrong.stderr) == (1, True)


def test_the_most_asked_become_a_job_where_requests_are_kept(services: Services, flask: Run) -> None:
    refused = flask("cache", "warm", "--top", "5")
    assert (refused.exit_code, "LLMAPI_REQUESTS_KEPT" in refused.stderr) == (1, True)
    services.settings = services.settings.model_copy(update={"requests_kept": 60.0})
    job = services.jobs.get(flask("cache", "warm", "--top", "5").stdout.strip(), "default")
    assert (job.arguments or {})["top"] == 5
    assert flask("cache", "warm").exit_code == flask("cache", "warm", "--top", "5", "-", input="{}").exit_code == 2


def test_a_lookup_by_key_tells_what_is_not_kept(flask: Run) -> None:
    said = flask("cache", "lookup", "--key", "default:" + "0" * 64)
    assert (said.exit_code, json.loads(said.stdout)["would_hit"]) == (0, False)
    assert flask("cache", "lookup").exit_code == 2


@pytest.mark.parametrize("number", ["1e9", "inf", "nan", "-1"])
def test_an_age_beyond_all_bounds_is_not_understood(flask: Run, number: str) -> None:
    said = flask("cache", "clear", "--older-than", number)
    assert (said.exit_code, "Error: Invalid value for" in said.stderr) == (2, True)
