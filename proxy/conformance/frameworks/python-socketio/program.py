"""Two python-socketio servers that share their events through Redis, a process that only emits, and four clients.

AsyncRedisManager publishes everything, pickled, on one channel; each server delivers to its own clients what it finds
there, its own events included."""

import asyncio
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), ".."))

import redis  # noqa: E402
import socketio  # noqa: E402
from aiohttp import web  # noqa: E402
from ledger import arrived, expect, got, payloads, redis_of, settle, until  # noqa: E402

ROOMS = {"a1": "red", "a2": "blue", "b1": "red", "b2": "blue"}


def manager(service: str, **options) -> socketio.AsyncRedisManager:
    host, port = redis_of(service)
    return socketio.AsyncRedisManager(f"redis://{host}:{port}/0", **options)


async def start_server(service: str) -> tuple[socketio.AsyncServer, web.AppRunner, int]:
    server = socketio.AsyncServer(async_mode="aiohttp", client_manager=manager(service), max_http_buffer_size=1 << 24)

    @server.event
    async def connect(sid: str, _environ: dict, auth: dict) -> None:
        await server.enter_room(sid, ROOMS[auth["name"]])

    app = web.Application()
    server.attach(app)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    return server, runner, site._server.sockets[0].getsockname()[1]


async def start_client(name: str, port: int) -> socketio.AsyncClient:
    client = socketio.AsyncClient()
    for event in ("from-a", "from-b", "from-outside"):
        client.on(event, lambda *values, event=event: got(name, event, values))
    client.on("question", lambda value: value)
    await client.connect(f"http://127.0.0.1:{port}", auth={"name": name}, transports=["websocket"])
    return client


async def main() -> None:
    servers = {name: await start_server(f"pio-{name}") for name in "ab"}
    clients = {name: await start_client(name, servers[name[0]][2]) for name in ROOMS}
    await asyncio.to_thread(until, "both servers listen", both_listen)
    emitters = {f"from-{name}": server for name, (server, _, _) in servers.items()}
    emitters["from-outside"] = manager("pio-outside", write_only=True)
    for event, emitter in emitters.items():
        for payload in payloads():
            await emitter.emit(event, payload, namespace="/")
            await emitter.emit(event, {"part": payload, "rest": [1, None, "ż"]}, namespace="/")
            for name in clients:
                expect(name, event, [payload])
                expect(name, event, [{"part": payload, "rest": [1, None, "ż"]}])
        await asyncio.to_thread(arrived)
        for payload in (payload for payload in payloads() if len(payload) < 10_000):
            await emitter.emit(event, payload, room="red", namespace="/")
            for name in (name for name, room in ROOMS.items() if room == "red"):
                expect(name, event, [payload])
    await asyncio.to_thread(arrived)
    await questions(servers["a"][0], clients["b1"])
    for event, emitter in emitters.items():
        await emitter.emit(event, "the end", namespace="/")
        for name in clients:
            expect(name, event, ["the end"])
    await asyncio.to_thread(settle)
    for client in clients.values():
        await client.disconnect()
    for server, runner, _ in servers.values():
        await server.shutdown()
        await runner.cleanup()


def both_listen() -> bool:
    """A server subscribes some time after its start."""
    with redis.Redis(*redis_of("pio-a")) as connection:
        return connection.pubsub_numsub("socketio") == [(b"socketio", 2)]


async def questions(server: socketio.AsyncServer, client: socketio.AsyncClient) -> None:
    """A question to one client at the other server, and its answer back through Redis, which must be JSON."""
    for payload in (payload for payload in payloads() if isinstance(payload, str) and len(payload) < 10_000):
        answer = await server.call("question", payload, to=client.get_sid("/"), timeout=60)
        expect("pio-a", "answers", payload)
        got("pio-a", "answers", answer)


asyncio.run(main())
