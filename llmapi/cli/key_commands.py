"""flask keys, flask tenants: who may call, of all tenants. A running service knows of a change within five seconds."""

from dataclasses import asdict
from datetime import timedelta
from typing import Any

import click
import orjson

from llmapi.cli.parts import Group, Number, in_columns, noted, services
from llmapi.core.clock import rfc3339, utc_now
from llmapi.tenants.everyone import rows
from llmapi.tenants.key_rows import LONGEST_LIFE, ApiKey
from llmapi.tenants.keys import LONGEST_OVERLAP
from llmapi.tenants.roles import OPERATORS_TENANT, ROLES
from llmapi.tenants.tenants import Tenant

KEYS = ("ID", "TENANT", "NAME", "ROLE", "STATE", "CREATED", "EXPIRES", "LAST USED")
TENANTS = ("ID", "NAME", "STATE", "PLAN", "CREATED")
PAGE = 200
LIFE = Number(0, LONGEST_LIFE.days, min_open=True)
OVERLAP = Number(0, LONGEST_OVERLAP)

tenant_option = click.option("--tenant", default=OPERATORS_TENANT, show_default=True, help="Whose key.")
json_option = click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")


@click.group(cls=Group)
def keys() -> None:
    """Make keys, list, rotate and revoke them."""


@keys.command()
@tenant_option
@click.option("--name", default="cli", show_default=True, help="What people call it.")
@click.option("--role", type=click.Choice(list(ROLES)), default="developer", show_default=True)
@click.option("--scope", "scopes", multiple=True, help="Fewer scopes than the role's, e.g. tasks:run or jobs:*.")
@click.option("--project", default="", help="A project of the tenant, which its calls are booked on.")
@click.option("--days", type=LIFE, help="Days until it expires.")
@click.option("--address", "addresses", multiple=True, help="An address or network it may be used from.")
@click.option("--plan", default="", help="A plan of its own, instead of the tenant's.")
@click.option("--requires-signature", is_flag=True, help="It signs requests and is never sent.")
@click.option("--may-name-user", is_flag=True, help="Its X-User-ID is believed.")
def create(tenant: str, scopes: tuple[str, ...], days: float | None, **wanted: Any) -> None:
    """Make a key. It is printed alone on standard output, this once."""
    parts = services()
    parts.plans.need(wanted["plan"])
    expires = None if days is None else utc_now() + timedelta(days=days)
    row, key = parts.keyring.create(tenant, scopes=scopes or None, expires=expires, **wanted)
    noted(tenant, "keys.create", row.id, role=row.role)
    show(row, key)


@keys.command("list")
@click.option("--tenant", help="Only this tenant's.")
@json_option
def list_keys(tenant: str | None, as_json: bool) -> None:
    """List keys, the newest of each tenant first; never their secrets."""
    every = [tenant] if tenant else [row.id for row in rows(services().tenants)]
    found = [row for whose in every for row in every_key(whose)]
    if as_json:
        for row in found:
            click.echo(orjson.dumps(asdict(row)))
    elif found:
        click.echo(in_columns([KEYS, *map(key_cells, found)]))
    else:
        click.echo("There are no such keys.", err=True)


@keys.command()
@click.argument("id", metavar="KEY")
@click.option("--overlap", type=OVERLAP, default=86_400.0, show_default=True, help="Seconds the old secret stays good.")
def rotate(id: str, overlap: float) -> None:
    """Make a new secret for a key. It is printed alone on standard output, this once."""
    ring = services().keyring
    tenant = ring.owner(id)
    row, key = ring.rotate(tenant, id, overlap)
    noted(tenant, "keys.rotate", id, overlap_s=overlap)
    show(row, key)


@keys.command()
@click.argument("ids", nargs=-1, required=True, metavar="KEY...")
def revoke(ids: tuple[str, ...]) -> None:
    """Revoke keys, for ever."""
    ring = services().keyring
    for id in ids:
        tenant = ring.owner(id)
        ring.revoke(tenant, id)
        noted(tenant, "keys.delete", id)
        click.echo(f"{id}: revoked")


@keys.command("seal-anew")
def seal_anew() -> None:
    """Seal provider keys and signing secrets with the newest LLMAPI_SECRET_KEY, so that older ones can go."""
    parts = services()
    provider_keys, signing_secrets = parts.provider_keys.seal_anew(), parts.signatures.secrets.seal_anew()
    noted(OPERATORS_TENANT, "provider_keys.seal", "", count=provider_keys, signing_secrets=signing_secrets)
    click.echo(f"{provider_keys} provider keys and {signing_secrets} signing secrets sealed")


@click.group(cls=Group)
def tenants() -> None:
    """Make tenants, list, suspend and resume them."""


@tenants.command("create")
@click.argument("id", metavar="TENANT")
@click.option("--name", default="", help="What people call it.")
@click.option("--plan", default="", help="The plan it is under.")
def create_tenant(id: str, name: str, plan: str) -> None:
    """Make a tenant."""
    parts = services()
    parts.plans.need(plan)
    made = parts.tenants.create(id, name=name, plan=plan)
    noted(made.id, "tenants.create", made.id, plan=plan)
    click.echo(f"{made.id}: made")


@tenants.command("list")
@json_option
def list_tenants(as_json: bool) -> None:
    """List tenants by id."""
    found = list(rows(services().tenants))
    if as_json:
        for tenant in found:
            click.echo(orjson.dumps(asdict(tenant)))
    else:
        click.echo(in_columns([TENANTS, *map(tenant_cells, found)]))


@tenants.command()
@click.argument("id", metavar="TENANT")
def suspend(id: str) -> None:
    """Let a tenant's keys be good no more."""
    found = services().tenants.suspend(id)
    noted(found.id, "tenants.change", found.id, state="suspended")
    click.echo(f"{found.id}: suspended")


@tenants.command()
@click.argument("id", metavar="TENANT")
def resume(id: str) -> None:
    """Let a suspended tenant's keys be good again."""
    found = services().tenants.resume(id)
    noted(found.id, "tenants.change", found.id, state="active")
    click.echo(f"{found.id}: active")


def show(row: ApiKey, key: str) -> None:
    """Print a key where it can be piped from, and beside it what it is."""
    click.echo(f"key {row.id} of {row.tenant}, {row.role}: shown this once", err=True)
    click.echo(key)


def every_key(tenant: str) -> list[ApiKey]:
    """Return all keys of a tenant."""
    ring, after = services().keyring, None
    found: list[ApiKey] = []
    while True:
        page = ring.list(tenant, limit=PAGE, after=after)
        found += page.keys
        if (after := page.after) is None:
            return found


def key_cells(row: ApiKey) -> tuple[str, ...]:
    """Return a key as a row of the table."""
    when = ["" if each is None else rfc3339(each) for each in (row.created, row.expires, row.last_used)]
    return (row.id, row.tenant, row.name, row.role, row.state, *when)


def tenant_cells(tenant: Tenant) -> tuple[str, ...]:
    """Return a tenant as a row of the table."""
    return (tenant.id, tenant.name, tenant.state, tenant.plan, rfc3339(tenant.created))
