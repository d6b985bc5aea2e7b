"""A real nginx with our configuration in front of the service: streams, addresses, hang-ups."""

import os
import shutil
import socket
import subprocess
import threading
import time

import pytest
import urllib3

from tests.fakes.behaviours import Answer
from tests.journeys.conftest import on
from tests.journeys.service import ROOT, Service
from tests.servers.ports import free_port

NGINX = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")
pytestmark = pytest.mark.skipif(
    NGINX is None and "CI" not in os.environ, reason="no nginx on this machine: the proxy's configuration was not tried"
)
KEY = "a-key-for-the-proxy"
MAIN = """
pid {folder}/nginx.pid; error_log {folder}/error.log; daemon off; master_process off;
events {{ worker_connections 256; }}
http {{
    access_log off;
    client_body_temp_path {folder}; proxy_temp_path {folder}; fastcgi_temp_path {folder};
    uwsgi_temp_path {folder}; scgi_temp_path {folder};
    include {folder}/llmapi.conf;
}}
"""


class Front:
    """nginx on a free port in front of another port."""

    def __init__(self, folder, behind):
        self.port = free_port()
        ours = (ROOT / "deploy/nginx.conf").read_text()
        ours = ours.replace("listen 80;", f"listen 127.0.0.1:{self.port};")
        ours = ours.replace("127.0.0.1:8000", f"127.0.0.1:{behind}")
        (folder / "llmapi.conf").write_text(ours)
        (folder / "nginx.conf").write_text(MAIN.format(folder=folder))
        self.process = subprocess.Popen([NGINX, "-p", str(folder), "-c", str(folder / "nginx.conf")])
        self.url = f"http://127.0.0.1:{self.port}"
        self.http = urllib3.PoolManager(retries=False, timeout=30)
        wait_for(self.port)

    def post(self, body, preload=True, **headers):
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.http.request(
            "POST",
            f"{self.url}/v1/text/generate",
            json=body,
            headers={"Authorization": f"Bearer {KEY}", **named},
            preload_content=preload,
        )


def wait_for(port):
    end = time.monotonic() + 10
    while time.monotonic() < end:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.02)
    raise AssertionError("nginx does not listen")


@pytest.fixture
def front(tmp_path, upstream):
    settings = on(upstream, LLMAPI_AUTH="required", LLMAPI_API_KEYS=KEY, LLMAPI_TRUSTED_PROXIES="1")
    settings["LLMAPI_LIMITS_DOCS"] = "1/hour"
    with Service(tmp_path, settings) as service:
        running = Front(tmp_path, service.port)
        yield running
        running.process.terminate()
        running.process.wait(10)


def test_chunks_pass_as_they_come(front, upstream):
    gate = threading.Semaphore(1)
    upstream.default = Answer("one two", pieces=("one", " two"), gate=gate)
    answer = front.post({"prompt": "x", "stream": True}, preload=False)
    seen = b""
    while b"one" not in seen:  # arrives although the upstream has not gone on
        seen += answer.read1(4096)
    assert b"two" not in seen
    gate.release(5)
    assert b"event: done" in answer.read()


def test_a_client_that_leaves_is_noticed_through_the_proxy(front, upstream):
    upstream.default = Answer("one two", pieces=("one", " two"), gap=30.0)
    answer = front.post({"prompt": "x", "stream": True}, preload=False)
    answer.read1(64)
    answer.close()
    assert upstream.aborted.wait(3.0)


def test_a_forged_address_does_not_get_through(front):
    asked = [
        front.http.request("GET", f"{front.url}/openapi.json", headers={"X-Forwarded-For": f"203.0.113.{number}"})
        for number in range(2)
    ]
    assert [answer.status for answer in asked] == [200, 429]  # counted as the one client it is


def test_a_file_larger_than_any_other_body_passes(front):
    line = b'{"custom_id": "c", "method": "POST", "url": "/v1/text/generate", "body": {"prompt": "x"}}\n'
    form = {"purpose": "batch", "file": ("in.jsonl", line * (3 * 1_048_576 // len(line)))}
    sent = {"Authorization": f"Bearer {KEY}"}
    answer = front.http.request("POST", f"{front.url}/v1/files", fields=form, headers=sent)
    assert (answer.status, answer.json()["bytes"]) == (200, len(form["file"][1]))


def test_a_large_body_is_stopped_at_the_door(front):
    assert front.post({"prompt": "x" * 3_000_000}).status == 413
