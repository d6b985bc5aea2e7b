"""The model's server for real: what it answers, who shares it, and what becomes of it when somebody dies."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from urllib.parse import urlsplit

import pytest
import urllib3

from llmapi.core.errors import CallEnded, ProviderUnavailable
from llmapi.core.lifetime import Lifetime
from llmapi.providers.llama import LlamaServer
from llmapi.providers.llama_keeper import pause, read_endpoint

STORY = {"messages": [{"role": "user", "content": "Tell a long story."}], "seed": 7}
ENDLESS = {**STORY, "max_tokens": 1900, "ignore_eos": True, "stream": True}

ANOTHER_PROCESS = """
import os, sys
from pathlib import Path
from llmapi.core.lifetime import Lifetime
from llmapi.providers.llama import LlamaServer

server = LlamaServer(Path(sys.argv[1]), slots=1)
if "fork" in sys.argv:
    server.start()
    if os.fork() == 0:
        print(server.endpoint(Lifetime(30.0)).pid, flush=True)
        server.close()
        sys.stdin.read()
        os._exit(0)
print(server.endpoint(Lifetime(30.0)).pid, flush=True)
sys.stdin.read()
"""


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    """A server that the tests of this module share and leave alive."""
    server = LlamaServer(tmp_path_factory.mktemp("shared"), slots=2)
    yield server
    server.close()


@pytest.fixture
def server(tmp_path):
    """A server for a test that harms it."""
    made = LlamaServer(tmp_path, slots=1)
    yield made
    made.close()


@pytest.fixture
def another(tmp_path):
    """Start another process that needs the server of this test's folder; returns it and what it says first."""
    started = []

    def start(folder=tmp_path, *words):
        command = [sys.executable, "-c", ANOTHER_PROCESS, str(folder), *words]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        started.append(process)
        return process, int(process.stdout.readline())

    yield start
    for process in started:
        process.kill()
        process.communicate()


def ask(endpoint, body, key=None):
    headers = {"authorization": f"Bearer {key or endpoint.api_key}", "connection": "close"}
    address = endpoint.base_url + "/chat/completions"
    return urllib3.request("POST", address, json=body, headers=headers, preload_content=False, retries=False)


def told(endpoint, **more):
    with contextlib.closing(ask(endpoint, {**STORY, "max_tokens": 12, **more})) as answer:
        return answer.json()


def listens(endpoint):
    address = urlsplit(endpoint.base_url)
    try:
        with contextlib.closing(urllib3.connection.HTTPConnection(address.hostname, address.port)) as connection:
            connection.connect()
    except urllib3.exceptions.NewConnectionError:
        return False
    return True


def until(seen, seconds=20.0):
    """Wait for something that another process does; returns what was seen."""
    life = Lifetime(seconds)
    while not (found := seen()):
        assert life.remaining(), "it did not happen"
        threading.Event().wait(0.02)
    return found


def test_it_writes_no_more_tokens_than_asked_for(running):
    answer = told(running.endpoint(Lifetime(30.0)))
    assert answer["choices"][0]["message"]["content"].strip()
    assert answer["usage"]["completion_tokens"] == 12
    assert answer["choices"][0]["finish_reason"] == "length"


def test_the_same_seed_says_the_same(running):
    one, other = (told(running.endpoint(Lifetime(30.0))) for _ in range(2))
    assert one["choices"] == other["choices"]


def test_a_stream_comes_in_pieces(running):
    endpoint = running.endpoint(Lifetime(30.0))
    with contextlib.closing(ask(endpoint, {**STORY, "max_tokens": 5, "stream": True})) as answer:
        lines = answer.read().decode().split("\n\n")
    assert len([line for line in lines if '"content":"' in line]) >= 3
    assert "data: [DONE]" in lines


def test_an_answer_follows_a_json_schema(running):
    age = {"type": "object", "properties": {"age": {"type": "integer"}}, "required": ["age"]}
    wanted = {"type": "json_schema", "json_schema": {"name": "age", "schema": age}}
    answer = told(running.endpoint(Lifetime(30.0)), max_tokens=60, response_format=wanted)
    assert isinstance(json.loads(answer["choices"][0]["message"]["content"])["age"], int)


def test_a_token_comes_with_its_probabilities(running):
    answer = told(running.endpoint(Lifetime(30.0)), max_tokens=1, logprobs=True, top_logprobs=3)
    assert len(answer["choices"][0]["logprobs"]["content"][0]["top_logprobs"]) == 3


def test_an_answer_tells_neither_paths_nor_what_others_asked(running):
    answer = told(running.endpoint(Lifetime(30.0)))
    assert answer["model"] == "smollm2-135m-instruct"
    assert answer["usage"]["prompt_tokens_details"]["cached_tokens"] == 0


def test_who_has_no_key_gets_nothing(running):
    with contextlib.closing(ask(running.endpoint(Lifetime(30.0)), STORY, key="guessed")) as answer:
        assert answer.status == 401


def test_a_stream_nobody_reads_on_makes_room(running):
    endpoint = running.endpoint(Lifetime(30.0))
    for _ in range(2):
        with contextlib.closing(ask(endpoint, ENDLESS)) as answer:
            assert answer.read(64)
    before = time.monotonic()
    assert told(endpoint, max_tokens=1)["choices"]
    assert time.monotonic() - before < 15.0  # 1,900 tokens take half a minute


def test_its_files_are_for_its_owner_alone(running, tmp_path):
    running.endpoint(Lifetime(30.0))
    folder = running._folder
    assert folder.stat().st_mode & 0o077 == 0
    assert {file.stat().st_mode & 0o777 for file in folder.iterdir()} == {0o600}


def test_a_terminal_s_interrupt_leaves_it_to_its_owner(running):
    endpoint = running.endpoint(Lifetime(30.0))
    os.kill(endpoint.pid, signal.SIGINT)
    os.kill(endpoint.pid, signal.SIGTERM)
    assert told(endpoint)["choices"]


def test_health_tells_that_it_runs(running):
    running.endpoint(Lifetime(30.0))
    assert running.health() == {"status": "ok", "state": "running"}


def test_two_processes_share_one_server(running, another):
    endpoint = running.endpoint(Lifetime(30.0))
    _, pid = another(running._folder.parent)
    assert pid == endpoint.pid
    assert told(endpoint)["choices"]


def test_who_is_not_the_owner_leaves_without_ending_it(another, server):
    _, pid = another()
    assert server.endpoint(Lifetime(30.0)).pid == pid
    server.close()
    assert listens(read_endpoint(server._folder))


def test_a_server_that_was_killed_is_started_again(server):
    first = server.endpoint(Lifetime(30.0))
    os.kill(first.pid, signal.SIGKILL)
    until(lambda: read_endpoint(server._folder) != first)
    second = server.endpoint(Lifetime(30.0))
    assert second.pid != first.pid
    assert told(second)["choices"]


def test_a_killed_owner_is_replaced_by_who_waits(another, server):
    owner, pid = another()
    assert server.endpoint(Lifetime(30.0)).pid == pid
    owner.kill()
    second = until(lambda: (found := read_endpoint(server._folder)) and found.pid != pid and found)
    assert told(second)["choices"]


def test_a_server_ends_with_its_killed_owner(another, tmp_path):
    owner, _ = another()
    endpoint = read_endpoint(tmp_path / "llama")
    owner.kill()
    until(lambda: not listens(endpoint))


def test_a_fork_of_the_owner_shares_the_server_but_does_not_keep_it_alive(another, tmp_path, server):
    owner, pid = another(tmp_path, "fork")
    assert int(owner.stdout.readline()) == pid
    endpoint = read_endpoint(tmp_path / "llama")
    owner.kill()
    until(lambda: not listens(endpoint))
    assert told(server.endpoint(Lifetime(30.0)))["choices"]


def test_close_ends_the_server_and_it_can_be_started_again(server):
    first = server.endpoint(Lifetime(30.0))
    server.close()
    assert not listens(first)
    assert read_endpoint(server._folder) is None
    assert told(server.endpoint(Lifetime(30.0)))["choices"]


def test_nothing_is_started_before_it_is_needed(server, tmp_path):
    assert server.health() == {"status": "unknown", "state": "not started"}
    assert list(tmp_path.iterdir()) == []


def test_a_model_that_cannot_be_loaded_is_not_waited_for_without_end(tmp_path):
    server = LlamaServer(tmp_path, model=tmp_path / "none.gguf", patience=1.5)
    with pytest.raises(ProviderUnavailable):
        server.endpoint(Lifetime(30.0))
    assert server.health()["status"] == "down"
    server.close()


def test_a_call_that_is_over_stops_waiting(tmp_path):
    server, life = LlamaServer(tmp_path, model=tmp_path / "none.gguf"), Lifetime(30.0)
    life.end()
    with pytest.raises(CallEnded):
        server.endpoint(life)
    with pytest.raises(ProviderUnavailable):
        server.endpoint(Lifetime(0.0))
    server.close()


def test_what_a_dead_owner_left_behind_is_not_believed(another, tmp_path):
    owner, pid = another()
    owner.kill()
    owner.wait()
    assert str(pid) in (tmp_path / "llama" / "server.json").read_text()
    assert read_endpoint(tmp_path / "llama") is None


def test_a_server_that_keeps_dying_is_started_ever_more_rarely():
    assert pause([], 100.0) == 0.0
    assert pause([99.0], 100.0) == 0.25
    assert pause([98.0, 99.0], 100.0) == 0.5
    assert pause([1.0, 2.0, 99.0], 100.0) == 0.25  # what was a minute ago is forgiven
    assert pause([99.0] * 16, 100.0) == 15.0
