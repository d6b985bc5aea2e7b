import json

import pytest

from llmapi.core.errors import NotFound
from llmapi.jobs.job import Job
from llmapi.services import Services
from tests.cli.conftest import Run


def put(services: Services, tenant: str = "a") -> str:
    return services.jobs.put("task", {"task": "text", "request": {"prompt": "hello"}}, tenant=tenant)


def dead(services: Services, tenant: str = "a") -> str:
    """Return a job that was given up."""
    id = services.jobs.put("task", {}, tenant=tenant, max_attempts=1)
    claim = services.jobs.claim_this(id, "worker", 30)
    assert claim is not None
    services.jobs.fail(claim, {"code": "x"}, retry_in=0)
    assert services.jobs.get(id, tenant).status == "dead"
    return id


def status(services: Services, id: str, tenant: str = "a") -> str:
    return services.jobs.get(id, tenant).status


def test_jobs_of_all_tenants_are_listed_the_newest_first(services: Services, flask: Run) -> None:
    ids = [put(services, "a"), put(services, "b")]
    said = flask("jobs", "list").stdout.splitlines()
    assert [line.split()[:4] for line in said[1:]] == [[ids[1], "b", "task", "queued"], [ids[0], "a", "task", "queued"]]


@pytest.mark.parametrize("words", [("--tenant", "b"), ("--status", "dead"), ("--limit", "1")])
def test_a_list_can_be_narrowed(services: Services, flask: Run, words: tuple[str, ...]) -> None:
    put(services)
    id = dead(services, "b")
    said = flask("jobs", "list", "--json", *words).stdout.splitlines()
    assert [json.loads(line)["id"] for line in said] == [id]


def test_a_job_is_shown_with_all_of_it(services: Services, flask: Run) -> None:
    job = json.loads(flask("jobs", "show", put(services)).stdout)
    assert (job["status"], job["arguments"]["request"]) == ("queued", {"prompt": "hello"})


def test_an_unknown_job_is_a_sentence_and_no_stack_trace(flask: Run) -> None:
    said = flask("jobs", "show", "job_unknown")
    assert (said.exit_code, said.stderr) == (1, "Error: There is no job job_unknown.\n")


def test_what_can_be_cancelled_is_and_the_rest_is_told(services: Services, flask: Run) -> None:
    waiting, ended = put(services), dead(services)
    said = flask("jobs", "cancel", ended, waiting)
    assert (said.exit_code, status(services, waiting)) == (1, "cancelled")
    assert said.stdout == f"{waiting}: cancelled\n"
    assert said.stderr.splitlines()[-1] == "Error: 1 of 2 could not be done."


def test_a_running_job_is_asked_to_end(services: Services, flask: Run) -> None:
    id = put(services)
    services.jobs.claim("worker", 30)
    assert flask("jobs", "cancel", id).stdout == f"{id}: will end soon\n"
    assert services.jobs.get(id, "a").cancel_asked


def test_dead_jobs_wait_again_by_name_or_all(services: Services, flask: Run) -> None:
    ids = [dead(services) for _ in range(3)]
    assert flask("jobs", "redrive", ids[0]).exit_code == 0
    assert [status(services, id) for id in ids] == ["queued", "dead", "dead"]
    assert flask("jobs", "redrive", "--dead").exit_code == 0
    assert [status(services, id) for id in ids] == ["queued"] * 3


def test_a_job_that_dies_again_at_once_is_redriven_once(services: Services, flask: Run) -> None:
    id, turns = dead(services), 0

    def die(job: Job) -> None:
        nonlocal turns
        if job.status == "queued" and (turns := turns + 1) < 9:  # of a command that goes on for ever, enough
            claim = services.jobs.claim_this(id, "worker", 30)
            assert claim is not None
            services.jobs.fail(claim, {"code": "x"}, retry_in=0)

    services.jobs.on_change(die)
    assert flask("jobs", "redrive", "--dead").exit_code == 0
    assert (turns, status(services, id)) == (1, "dead")


def test_dead_jobs_are_deleted_after_a_yes(services: Services, flask: Run) -> None:
    kept, gone = put(services), dead(services)
    assert flask("jobs", "purge", "--dead", input="n\n").exit_code == 1
    assert status(services, gone) == "dead"
    assert flask("jobs", "purge", "--dead", input="y\n").exit_code == 0
    with pytest.raises(NotFound):
        services.jobs.get(gone, "a")
    assert status(services, kept) == "queued"


def test_one_tenants_dead_jobs_can_be_deleted_alone(services: Services, flask: Run) -> None:
    mine, other = dead(services, "a"), dead(services, "b")
    assert flask("jobs", "purge", "--dead", "--tenant", "a", "--yes").exit_code == 0
    assert status(services, other, "b") == "dead"
    assert flask("jobs", "purge", mine, "--yes").exit_code == 1


@pytest.mark.parametrize("words", [("cancel",), ("redrive",), ("purge",), ("redrive", "job_x", "--dead"), ("shout",)])
def test_what_is_not_understood_changes_nothing_and_ends_with_2(
    services: Services, flask: Run, words: tuple[str, ...]
) -> None:
    id = dead(services)
    assert flask("jobs", *words).exit_code == 2
    assert status(services, id) == "dead"
