"""flask cache: what kept answers save, what is to be served no more, and what to ask ahead; of any tenant.

With memory:// each worker keeps its own answers and a command sees none of them; what is cleared is cleared in all.
"""

from datetime import timedelta
from typing import Any, BinaryIO

import click
import orjson

from llmapi.cache.clearing import DECADE, mark_of
from llmapi.cli.parts import Group, Number, noted, services
from llmapi.core.clock import utc_now
from llmapi.core.ids import new_id
from llmapi.core.money import dollars
from llmapi.tasks import warming
from llmapi.tasks.answers import Json
from llmapi.tasks.runner import Caller
from llmapi.tasks.saved import saved_between
from llmapi.tasks.warm_questions import ADDRESSES, MOST, Question
from llmapi.tenants.everyone import every_tenant
from llmapi.tenants.roles import OPERATORS_TENANT

AT_ONCE = 100  # tenants in one transaction
AGE = Number(0, DECADE)

tenant_option = click.option("--tenant", default=OPERATORS_TENANT, show_default=True, help="Whose answers.")
task_option = click.option("--task", type=click.Choice(list(ADDRESSES)), default="text", show_default=True)


@click.group(cls=Group)
def cache() -> None:
    """Look at kept answers, clear them, have them asked ahead."""


@cache.command()
@click.option("--tenant", help="Only this tenant's calls.")
@click.option("--days", type=click.IntRange(1, 3650), default=30, show_default=True, help="Of so many days.")
def stats(tenant: str | None, days: int) -> None:
    """Tell how often the cache answered, and what that saved, as JSON."""
    now = utc_now()
    begin = now.replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=days)
    saved = saved_between(services().usage, tenant, begin, now)
    told: dict[str, Any] = {"calls": dict(saved.by_kind), "hit_share": saved.share}
    told |= {"saved": {"amount": dollars(saved.money), "currency": "USD", "seconds": round(saved.seconds, 3)}}
    click.echo(orjson.dumps(told, option=orjson.OPT_INDENT_2).decode())


@cache.command()
@tenant_option
@click.option("--everyone", is_flag=True, help="Of all tenants.")
@click.option("--key", "cache_key", help="The answer under this key.")
@click.option("--tag", help="Answers with this tag.")
@click.option("--model", help="Answers of this model: `model` or `provider/model`.")
@click.option("--template", help="Answers to this prompt template: its name, or `name@version`.")
@click.option("--task", help="Answers of this task.")
@click.option("--all", is_flag=True, help="Every answer.")
@click.option("--older-than", "older_than_s", type=AGE, help="Only what is older than so many seconds.")
def clear(tenant: str, everyone: bool, **wanted: Any) -> None:
    """Let kept answers be served no more, in every worker within two seconds."""
    named = [name for name, value in wanted.items() if value and name != "older_than_s"]
    if len(named) > 1 or not (named or wanted["older_than_s"] is not None):
        raise click.UsageError("Name one of --key, --tag, --model, --template, --task, --all, or say --older-than.")
    house, now = services(), utc_now().timestamp()
    whose = every_tenant(house.tenants, house.settings.api_keys) if everyone else [tenant]
    marks = [mark_of(each, wanted, now) for each in whose]
    for start in range(0, len(marks), AT_ONCE):
        house.marks.add(marks[start : start + AT_ONCE])
    for each in marks:
        noted(each.tenant, "cache.delete", f"{each.field}:{each.value}")
    click.echo(f"cleared for {len(marks)} tenants" if everyone else "cleared")


@cache.command()
@tenant_option
@task_option
@click.option("--refresh", is_flag=True, help="Ask for new answers, also where some are kept.")
@click.option("--top", type=click.IntRange(1, MOST), help="The most asked requests, instead of a file.")
@click.argument("file", type=click.File("rb"), required=False)
def warm(tenant: str, task: str, refresh: bool, top: int | None, file: BinaryIO | None) -> None:
    """Have the requests of a file asked, one JSON object a line as the task's route takes it; prints the job's id."""
    if (top is None) == (file is None):
        raise click.UsageError("Give a file, or --top.")
    if top is not None and not services().settings.requests_kept:
        raise click.ClickException("No requests are kept: set LLMAPI_REQUESTS_KEPT.")
    source = {"top": top} if file is None else {"requests": requests_in(file, task)}
    wanted = {"task": task, "refresh": refresh, "since": utc_now().timestamp(), **source}
    job = services().jobs.put(warming.KIND, wanted, tenant=tenant, priority=warming.PRIORITY)
    noted(tenant, "cache.create", job, view="Warm")
    click.echo(job)


@cache.command()
@tenant_option
@task_option
@click.option("--key", help="Look for this key instead of a request.")
@click.argument("file", type=click.File("rb"), required=False)
def lookup(tenant: str, task: str, key: str | None, file: BinaryIO | None) -> None:
    """Tell as JSON whether a request (a file with a JSON object, or -) would be answered from the cache."""
    looking = services().lookup
    if (key is None) == (file is None):
        raise click.UsageError("Give a file, or --key.")
    if file is None:
        told = looking.of_key(tenant, str(key))
    else:
        told = looking.of_request(task, read(1, file.read(), task).wanted, Caller(tenant, new_id("req")))
    click.echo(orjson.dumps(told, option=orjson.OPT_INDENT_2).decode())


def requests_in(file: BinaryIO, task: str) -> list[Json]:
    """Return the requests of a file; raises ClickException."""
    every = [read(number, raw, task) for number, raw in enumerate(file, 1) if raw.strip()]
    if not 1 <= len(every) <= MOST:
        raise click.ClickException(f"A file may have 1 to {MOST} requests.")
    return [each.wanted for each in every]


def read(number: int, raw: bytes, task: str) -> Question:
    """Return a line as a question; raises ClickException for what is none."""
    found = services().warming.questions.read(number, raw, task)
    if found.wrong is not None:
        raise click.ClickException(f"line {number}: {found.wrong.message}")
    return found
