"""An object for every address with an id in it, made over the API itself."""

import io
import json
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from flask.testing import FlaskClient
from werkzeug.test import TestResponse

NEW_PATH = """{path} has an id and no maker.
Every object belongs to a tenant, and this matrix tries whether another tenant can see, change or even guess it.
In tests/api/matrix/objects.py write a function that makes such an object and returns its id, and name it in MAKERS
(and, only if all tenants share these objects, name the path in SHARED as well)."""
QUESTION = {"model": "default", "messages": [{"role": "user", "content": "How is the sea?"}]}
LINE = {"custom_id": "c1", "method": "POST", "url": "/v1/chat/completions", "body": QUESTION}


@dataclass(frozen=True)
class Owner:
    """Somebody with a key, or "" for none; `operator` runs the service."""

    client: FlaskClient
    key: str
    tenant: str = ""
    operator: "Owner | None" = None

    def ask(self, method: str, path: str, **more: Any) -> TestResponse:
        headers = {"X-Request-ID": "r"} | ({"X-API-Key": self.key} if self.key else {})
        return self.client.open(path, method=method, headers=headers, **more)

    def made(self, path: str, **more: Any) -> Any:
        """Return what a POST answered; it must succeed."""
        answer = self.ask("POST", path, **more)
        assert answer.status_code < 300, (path, answer.data)
        return answer.json


def job(owner: Owner) -> str:
    return str(owner.made("/v1/jobs", json={"task": "text", "request": {"prompt": "Hello"}})["id"])


def ended_job(owner: Owner) -> str:
    """Its events are a stream that ends."""
    id = job(owner)
    owner.ask("DELETE", f"/v1/jobs/{id}")
    return id


def dead_job(owner: Owner) -> str:
    jobs = owner.client.application.extensions["llmapi"].jobs
    id = job(owner)
    claim = jobs.claim_this(id, "matrix", 60.0)
    jobs.fail(claim, {"code": "provider_unavailable", "title": "", "status": 503, "message": ""}, retry_in=0.0)
    return id


def response(owner: Owner) -> str:
    return str(owner.made("/v1/responses", json={"model": "default", "input": "Hello", "background": True})["id"])


def file(owner: Owner) -> str:
    content = json.dumps(LINE).encode()
    form = {"purpose": "batch", "file": (io.BytesIO(content), "in.jsonl")}
    return str(owner.made("/v1/files", data=form, content_type="multipart/form-data")["id"])


def batch(owner: Owner) -> str:
    wanted = {"input_file_id": file(owner), "endpoint": LINE["url"], "completion_window": "24h"}
    return str(owner.made("/v1/batches", json=wanted)["id"])


def stream(owner: Owner) -> str:
    answer = owner.ask("POST", "/v1/text/generate", json={"prompt": "Hello", "stream": True})
    assert answer.data and answer.status_code == 200
    return answer.headers["X-Stream-ID"]


def webhook(owner: Owner) -> str:
    return str(owner.made("/v1/webhooks", json={"url": "http://127.0.0.1:9/hook"})["id"])


def delivery(owner: Owner, webhook_id: str) -> str:
    return str(owner.made(f"/v1/webhooks/{webhook_id}/test")["id"])


def key(owner: Owner) -> str:
    return str(owner.made("/v1/keys", json={"name": "n", "role": "viewer"})["id"])


def key_of_tenant(owner: Owner, tenant: str) -> str:
    return str((owner.operator or owner).made(f"/v1/tenants/{tenant}/keys", json={"name": "n", "role": "viewer"})["id"])


def project(owner: Owner) -> str:
    return str(owner.made("/v1/projects", json={"id": name("p")})["id"])


def tenant(owner: Owner) -> str:
    return str((owner.operator or owner).made("/v1/tenants", json={"id": name("t")})["id"])


def plan(owner: Owner) -> str:
    return str((owner.operator or owner).made("/v1/plans", json={"name": name("plan"), "limits": {}})["name"])


def signing_key(owner: Owner) -> str:
    id = key(owner)
    owner.made(f"/v1/keys/{id}/signing-secret")
    return id


def provider_key(owner: Owner) -> str:
    answer = owner.ask("PUT", "/v1/provider-keys/gemini", json={"key": "AIzaSyOwnOwnOwnOwnOwnOwnOwnOwnOwnOwnOwn"})
    assert answer.status_code == 200, answer.data
    return "gemini"


def budget(owner: Owner) -> str:
    wanted = {"level": "user", "name": name("u"), "amount": "1", "window": "month"}
    return str(owner.made("/v1/budgets", json=wanted)["id"])


def name(begin: str) -> str:
    """Return a name that is not taken, in any tenant."""
    return f"{begin}-{random.getrandbits(64):016x}"


def model(_: Owner) -> str:
    return "default"


MAKERS: dict[str, Callable[..., str]] = {  # by the path up to the id; later ids are made from the earlier ones
    "/v1/responses/{response_id}": response,
    "/v1/files/{file_id}": file,
    "/v1/batches/{batch_id}": batch,
    "/v1/streams/{stream_id}": stream,
    "/v1/jobs/{job_id}": job,
    "/v1/jobs/dead-letters/{job_id}": dead_job,
    "/v1/webhooks/{webhook_id}": webhook,
    "/v1/webhooks/{webhook_id}/deliveries/{delivery_id}": delivery,
    "/v1/models/{name}": model,
    "/v1/keys/{key_id}": key,
    "/v1/projects/{project_id}": project,
    "/v1/tenants/{tenant_id}": tenant,
    "/v1/tenants/{tenant_id}/keys/{key_id}": key_of_tenant,
    "/v1/plans/{name}": plan,
    "/v1/provider-keys/{provider}": provider_key,
    "/v1/budgets/{budget_id}": budget,
}
STATES = {  # where an object of another state is needed
    "/v1/jobs/{job_id}/events": ended_job,
    "/v1/keys/{key_id}/signing-secret": signing_key,
}
SHARED = {"/v1/models/{name}", "/v1/tenants/{tenant_id}", "/v1/tenants/{tenant_id}/keys/{key_id}", "/v1/plans/{name}"}
PUTTING = {"PUT /v1/provider-keys/{provider}"}  # under a name all tenants know everybody puts what is his own
