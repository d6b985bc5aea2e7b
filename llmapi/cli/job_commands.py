"""flask jobs: what waits, runs, and was given up, of all tenants."""

from collections.abc import Callable
from dataclasses import asdict

import click
import orjson

from llmapi.cli.parts import Group, in_columns, services
from llmapi.core.clock import rfc3339
from llmapi.core.errors import LlmApiError
from llmapi.jobs.job import Job, Status
from llmapi.jobs.overview import dead_by_tenant, recent, tenant_of

STATUSES = ("queued", "running", "succeeded", "failed", "cancelled", "dead")
HEAD = ("ID", "TENANT", "KIND", "STATUS", "PRIORITY", "ATTEMPTS", "CREATED", "SECONDS")

ids = click.argument("ids", nargs=-1, metavar="JOB...")
tenant_option = click.option("--tenant", help="Only this tenant's.")
dead_option = click.option("--dead", is_flag=True, help="All that were given up.")
json_option = click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")


@click.group(cls=Group)
def jobs() -> None:
    """Look at jobs, cancel them, and deal with dead ones."""


@jobs.command("list")
@tenant_option
@click.option("--status", type=click.Choice(STATUSES), help="Only those in this status.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=20, show_default=True, help="At most so many.")
@json_option
def list_(tenant: str | None, status: Status | None, limit: int, as_json: bool) -> None:
    """List jobs, the newest first."""
    found = recent(services().engine, tenant=tenant, status=status, most=limit)
    if as_json:
        for job in found:
            click.echo(as_line(job))
    elif found:
        click.echo(in_columns([HEAD, *map(cells, found)]))
    else:
        click.echo("There are no such jobs.", err=True)


@jobs.command()
@click.argument("id", metavar="JOB")
def show(id: str) -> None:
    """Show all of one job as JSON: also what was asked, and what came of it."""
    parts = services()
    job = parts.jobs.get(id, tenant_of(parts.engine, id))
    click.echo(orjson.dumps(asdict(job), option=orjson.OPT_INDENT_2).decode())


@jobs.command()
@click.argument("ids", nargs=-1, required=True, metavar="JOB...")
def cancel(ids: tuple[str, ...]) -> None:
    """Cancel jobs: waiting ones at once, running ones within seconds."""
    parts = services()

    def act(id: str) -> str:
        job = parts.jobs.cancel(id, tenant_of(parts.engine, id))
        return "cancelled" if job.status == "cancelled" else "will end soon"

    each(ids, act)


@jobs.command()
@ids
@dead_option
@tenant_option
def redrive(ids: tuple[str, ...], dead: bool, tenant: str | None) -> None:
    """Let dead jobs wait again, with all their attempts."""
    parts = services()

    def act(id: str) -> str:
        parts.jobs.dead.redrive(id, tenant_of(parts.engine, id))
        return "waits again"

    if dead == bool(ids):
        raise click.UsageError("Name jobs, or say --dead.")
    if dead:  # all of them at once: one that dies again meanwhile has had its turn
        many = sum(dead_by_tenant(parts.engine, tenant).values())
        ids = tuple(job.id for job in recent(parts.engine, tenant=tenant, status="dead", most=many))
    each(ids, act)


@jobs.command()
@ids
@dead_option
@tenant_option
@click.option("--yes", is_flag=True, help="Do not ask.")
def purge(ids: tuple[str, ...], dead: bool, tenant: str | None, yes: bool) -> None:
    """Delete dead jobs for good."""
    parts = services()

    def act(id: str) -> str:
        parts.jobs.dead.purge(id, tenant_of(parts.engine, id))
        return "deleted"

    if dead == bool(ids):
        raise click.UsageError("Name jobs, or say --dead.")
    counts = dead_by_tenant(parts.engine, tenant) if dead else {}
    many = len(ids) + sum(counts.values())
    if many and not yes:
        click.confirm(f"Delete {many} dead jobs?", abort=True)
    each(ids, act)
    if not many:
        click.echo("There are no dead jobs.", err=True)
    for whose in counts:
        while deleted := parts.jobs.dead.purge_all(whose):
            click.echo(f"{whose}: {deleted} deleted")


def each(ids: tuple[str, ...], act: Callable[[str], str]) -> None:
    """Do something for each job and say how it went; raises ClickException at the end when one could not be done."""
    failed = 0
    for id in ids:
        try:
            click.echo(f"{id}: {act(id)}")
        except LlmApiError as error:
            failed += 1
            click.echo(f"{id}: {error.message}", err=True)
    if failed:
        raise click.ClickException(f"{failed} of {len(ids)} could not be done.")


def cells(job: Job) -> tuple[str, ...]:
    """Return a job as a row of the table."""
    seconds = "" if job.duration is None else f"{job.duration:.1f}"
    tries = f"{job.attempts}/{job.max_attempts}"
    return (job.id, job.tenant, job.kind, job.status, str(job.priority), tries, rfc3339(job.created), seconds)


def as_line(job: Job) -> str:
    """Return a job as a line of JSON, without what a listing leaves out."""
    return orjson.dumps({name: value for name, value in asdict(job).items() if value is not None}).decode()
