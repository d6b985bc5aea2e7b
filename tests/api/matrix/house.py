"""A whole service with keys of every role in two tenants, and the operator's."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from flask.testing import FlaskClient
from pydantic import SecretStr

from llmapi.app import create_app
from llmapi.bootstrap import build
from llmapi.services import Services
from llmapi.setting_tables import Limits
from llmapi.settings import Settings
from llmapi.tenants.roles import OPERATORS_TENANT
from tests.api.matrix.document import Operation, operations
from tests.api.matrix.objects import Owner
from tests.api.matrix.table import ROLES
from tests.fakes.gemini import FakeGemini

MUCH = Limits(**{name: "1000000/minute" for name in Limits.model_fields})


@dataclass(frozen=True)
class House:
    """`a`: an Owner for each letter of the table, of tenant a; `b`: an admin of tenant b."""

    every: list[Operation]
    a: dict[str, Owner]
    b: Owner
    nobody: Owner

    @property
    def operator(self) -> Owner:
        return self.a["o"]

    def maker(self, role: str) -> Owner:
        """Return who makes what this role owns: an admin of its tenant."""
        return self.operator if role == "o" else self.a["a"]


@contextmanager
def running(folder: Path, *, auth: Literal["required", "off"] = "required") -> Iterator[FlaskClient]:
    """Run the service: jobs stay queued, models are fakes."""
    with FakeGemini() as gemini:
        settings = Settings(
            data_dir=folder,
            google_api_key=SecretStr("AIzaSyFakeFakeFakeFakeFakeFakeFakeFake"),
            gemini_base_url=gemini.url,
            local=False,
            job_workers=0,
            job_attempts=1,
            auth=auth,
            secret_key=(SecretStr("A" * 43 + "="),),
            webhook_allow="127.0.0.1",
            limits=MUCH,
        )
        services = build(settings)
        app = create_app(services)
        services.start()
        try:
            yield app.test_client()
        finally:
            services.drain()
            services.close()


def with_key(client: FlaskClient, tenant: str, role: str, operator: Owner | None = None, **more: Any) -> Owner:
    """Return somebody with a new key."""
    services: Services = client.application.extensions["llmapi"]
    _, key = services.keyring.create(tenant, name=role, role=role, **more)
    return Owner(client, key, tenant, operator)


def furnished(client: FlaskClient) -> House:
    """Make the tenants and their keys."""
    operator = with_key(client, OPERATORS_TENANT, "admin")
    for tenant in "ab":
        operator.made("/v1/tenants", json={"id": tenant})
    a = {"o": operator}
    for letter, role in ROLES.items():
        if letter != "o":
            a[letter] = with_key(client, "a", role, operator, **({"scopes": ()} if letter == "n" else {}))
    every = list(operations(operator.ask("GET", "/openapi.json").json))
    return House(every, a, with_key(client, "b", "admin", operator), Owner(client, ""))
