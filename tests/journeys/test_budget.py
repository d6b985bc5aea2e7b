"""A dollar, a hundred callers, four workers and a kill -9: not a nano-dollar too much, nearly all of it used.

The fake keeps books of its own: what each question asked and was told. What was left or lost is booked at the most it
can have cost, which is computed here once more from the question's text.
"""

import os
import random
import re
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import pytest
import urllib3
from sqlalchemy import func, select

from llmapi.costs.budgets import Budgets
from llmapi.costs.postings import verify
from llmapi.db.engine import open_engine, reading
from llmapi.db.tables.budgets import balances, reservations
from llmapi.db.tables.ledger import ledger
from tests.fakes.behaviours import Answer
from tests.journeys.conftest import on
from tests.journeys.service import Service, until

DOLLAR = 10**9
INPUT, OUTPUT = 2_000, 40_000  # nano-dollars a token
LONGEST = 200  # tokens of an answer
CALLERS = 100
TEXT = "/v1/text/generate"
LATE = ("abandoned", "lost", "provider_timeout", "cancelled")
PRICES = '[prices."gemini/gemini-flash-latest"]\ninput = 2.0\noutput = 40.0\n'


@dataclass
class FakeBooks:
    """What the provider knows: by the caller's name of the request, the tokens of its prompt and of its answer."""

    told: dict[str, tuple[int, int]] = field(default_factory=dict)
    chance: random.Random = field(default_factory=lambda: random.Random(7))

    def __call__(self, asked):
        prompt = asked.body["contents"][-1]["parts"][0]["text"]
        said = self.chance.randint(1, LONGEST)
        if named := re.search(r"r-\d+", prompt):
            assert named[0] not in self.told, "a question was asked twice"
            self.told[named[0]] = (len(prompt.split()), said)
        return Answer(" ".join(["word"] * said), delay=0.02, gap=0.003)


def prompt_of(name):
    return f"Question {name} " + "and more " * (int(name[2:]) % 20)


def most(name):
    """Return the most a question can cost, as the README says it is computed."""
    return (64 + 16 + len(prompt_of(name).encode())) * INPUT + LONGEST * OUTPUT


class Callers:
    """A hundred clients who ask until they are told to stop."""

    def __init__(self, service):
        self.url, self.over = service.url + TEXT, threading.Event()
        self.http = urllib3.PoolManager(retries=False, timeout=urllib3.Timeout(20), maxsize=CALLERS)
        self.statuses = []

    def run(self, number):
        chance, round = random.Random(number), 0
        while not self.over.is_set():
            round += 1
            try:
                status = self.ask(f"r-{number * 10_000 + round}", chance.random())
            except urllib3.exceptions.HTTPError:
                status = 0  # its worker was killed
            self.statuses.append(status)
            if status != 200:
                self.over.wait(0.05)

    def ask(self, name, dice):
        body = {"prompt": prompt_of(name), "max_tokens": LONGEST, "stream": dice < 0.3}
        answer = self.http.request(
            "POST", self.url, json=body, headers={"X-Request-ID": name}, preload_content=not body["stream"]
        )
        if not body["stream"]:
            return answer.status
        answer.read(10)
        if dice < 0.03:  # a tenth of the streams
            answer.close()
        else:
            answer.read()
            answer.release_conn()
        return answer.status


@pytest.fixture
def service(tmp_path, upstream):
    (tmp_path / "llmapi.toml").write_text(PRICES)
    settings = on(
        upstream,
        LLMAPI_CONFIG=str(tmp_path / "llmapi.toml"),
        LLMAPI_WORKERS="4",
        LLMAPI_THREADS="64",
        LLMAPI_LIMITS_TEXT="1000000/minute",
        LLMAPI_TEXT_TIMEOUT="4",
        LLMAPI_BUDGET_LEASE="0.5",
    )
    with Service(tmp_path, settings) as running:
        until(lambda: len(running.workers()) == 4)
        yield running


def test_a_dollar_is_spent_to_the_last_cents_and_not_a_nano_dollar_more(service, upstream, tmp_path):
    upstream.behaviour = told = FakeBooks()
    engine = open_engine("", folder=tmp_path / "data")
    budgets = Budgets(engine)
    warm_up(service)
    budget = budgets.create("default", amount=DOLLAR, window="rolling", seconds=86_400).id
    time.sleep(2.1)  # until every worker knows it
    callers, killed, end = Callers(service), False, time.monotonic() + 60
    with ThreadPoolExecutor(CALLERS) as pool:
        for number in range(CALLERS):
            pool.submit(callers.run, number)
        while (standing := budgets.status(budget, "default")).spent < 0.95 * DOLLAR and time.monotonic() < end:
            assert standing.spent + standing.held <= DOLLAR
            if not killed and standing.spent > 0.5 * DOLLAR:
                os.kill(service.workers()[0], signal.SIGKILL)
                killed = True
            time.sleep(0.03)
        callers.over.set()
    assert 402 in callers.statuses and killed
    until(lambda: not count(engine, reservations), 15.0)
    standing = budgets.status(budget, "default")
    assert 0.95 * DOLLAR <= standing.spent <= DOLLAR and standing.held == 0
    compare(engine, told.told)
    engine.dispose()


def warm_up(service):
    """Ask until every worker has loaded what its first answer waits for; nothing of it is under the budget."""
    with ThreadPoolExecutor(24) as pool:
        asks = [pool.submit(service.ask, "POST", TEXT, {"prompt": f"warm {number}"}) for number in range(24)]
        assert {ask.result().status for ask in asks} <= {200, 504}


def compare(engine, told):
    """Compute every row of the ledger again, from the provider's own books."""
    with reading(engine) as connection:
        spent = connection.execute(select(func.sum(balances.c.spent))).scalar_one()
        rows = [row for row in connection.execute(select(ledger).where(ledger.c.cost != 0)) if row.call_id[:2] == "r-"]
    for row in rows:
        if row.status == "ok":
            asked, said = told[row.call_id]
            assert (row.cost, row.pricing) == (asked * INPUT + said * OUTPUT, "priced")
        else:
            assert (row.cost, row.pricing, row.status in LATE) == (most(row.call_id), "bound", True)
    names = [row.call_id for row in rows]
    assert len(names) == len(set(names)) and set(told) <= set(names)
    statuses = {row.status for row in rows}
    assert {"ok", "lost"} <= statuses and statuses & {"abandoned", "cancelled"}
    assert sum(row.cost for row in rows) == spent
    assert verify(engine) == []


def count(engine, table):
    with reading(engine) as connection:
        return connection.execute(select(func.count()).select_from(table)).scalar_one()
