"""What must last: webhooks through a receiver that often fails, WebSockets that are held, a batch that is killed."""

import asyncio
import json
import random
import tempfile
import time
from pathlib import Path

from benchmarks import servers
from llmapi.db.engine import open_engine
from llmapi.db.schema import upgrade
from tests.events.webhook_parts import AT_ONCE, Post
from tests.fakes.receiver import Receiver

Row = tuple[str, str, str]
EVENTS, SOCKETS, HELD = 1000, 500, 60.0


def webhooks() -> list[Row]:
    """A thousand events through a receiver that fails 30 % of the time."""
    chance = random.Random(1)
    with tempfile.TemporaryDirectory() as folder, Receiver() as receiver:
        receiver.behaviour = lambda _: 503 if chance.random() < 0.3 else 200
        engine = open_engine("", folder=Path(folder))
        upgrade(engine)
        post = Post(engine)
        endpoint, secret = post.endpoint(receiver.url)
        begun = time.perf_counter()
        for number in range(EVENTS):
            post.tell(number=number)
        post.sender(schedule=AT_ONCE)
        while (done := len(post.messages(endpoint, status="delivered"))) < EVENTS:
            time.sleep(0.2)
        seconds = time.perf_counter() - begun
        post.stop()
        numbers = {sent.verified(secret)["data"]["number"] for sent in receiver.sent}
    ids = len(set(receiver.ids))
    tries, rate = len(receiver.sent), EVENTS / seconds
    figure = f"{done} delivered, {len(numbers)} verified, {ids} ids in {tries} attempts, {rate:.0f}/s"
    return [("1,000 webhook events, 30 % of attempts fail", figure, "all, one id each")]


async def _held(port: int) -> tuple[int, float]:
    """Hold the sockets for a minute, then ask each for a sign of life; return how many gave it, and the p95."""
    from websockets.asyncio.client import connect

    async def one(number: int) -> float:
        await asyncio.sleep(number * 0.01)
        headers = {"Authorization": "Bearer bench-key"}
        async with connect(f"ws://127.0.0.1:{port}/v1/ws", additional_headers=headers) as socket:
            await asyncio.sleep(HELD + (SOCKETS - number) * 0.01)
            begun = time.perf_counter()
            await socket.send(json.dumps({"type": "ping"}))
            while json.loads(await asyncio.wait_for(socket.recv(), 20))["type"] != "pong":
                pass
            return time.perf_counter() - begun

    took = await asyncio.gather(*(one(number) for number in range(SOCKETS)), return_exceptions=True)
    good = sorted(each for each in took if isinstance(each, float))
    return len(good), good[int(0.95 * len(good))] if good else 0.0


def sockets() -> list[Row]:
    """Five hundred WebSocket clients for a minute, on one worker."""
    with servers.upstream() as up, servers.service(up) as ours:
        before, used = ours.memory(), ours.cpu()
        alive, late = asyncio.run(_held(ours.port))
        each, cpu = (ours.memory() - before) / SOCKETS, (ours.cpu() - used) / HELD
    figure = f"{alive} alive, p95 of an answer {late * 1000:.0f} ms, {each:.2f} MB each, {cpu:.0%} of a core"
    return [("500 WebSocket clients for a minute, 1 worker", figure, "500 alive")]
