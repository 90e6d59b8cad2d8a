"""Three processes of a Django Channels site that share groups through the Pub/Sub channel layer.

    python program.py VARIANT     msgpack, json or encrypted

Each process has its own layer, as its settings would configure it, and its own Redis connections. This process tells
the others over pipes what to do, and is told what they received."""

import asyncio
import multiprocessing
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), ".."))

from ledger import complete, expect, got, payloads, redis_of, settle, until  # noqa: E402

SERVICES = ("channels-a", "channels-b", "channels-c")


class Site:
    """One process: it does what it is told, one thing at a time, and receives all the while."""

    def __init__(self, service: str, variant: str, pipe) -> None:
        from channels.layers import channel_layers
        from django.conf import settings

        host, port = redis_of(service)
        config = {"hosts": [{"host": host, "port": port}]}
        if variant == "encrypted":
            config["symmetric_encryption_keys"] = ["a key of the site"]
        elif variant == "json":
            config["serializer_format"] = "json"
        layer = {"BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer", "CONFIG": config}
        settings.configure(CHANNEL_LAYERS={"default": layer})
        self.layer = channel_layers["default"]
        self.pipe = pipe

    async def run(self) -> None:
        channel = await self.layer.new_channel()
        receiving = asyncio.create_task(self.receive(channel))
        self.pipe.send(("ready", channel))
        while (order := await asyncio.to_thread(self.pipe.recv)) is not None:
            name, *arguments = order
            await getattr(self.layer, name)(*(channel if argument == "me" else argument for argument in arguments))
            self.pipe.send(("done", name))
        receiving.cancel()
        await self.layer.flush()
        self.pipe.send(("ended", None))

    async def receive(self, channel: str) -> None:
        while True:
            message = await self.layer.receive(channel)
            self.pipe.send(("got", message))


def site(service: str, variant: str, pipe) -> None:
    asyncio.run(Site(service, variant, pipe).run())


class Remote:
    """A process as the story sees it."""

    def __init__(self, context, service: str, variant: str) -> None:
        self.name = service
        self.pipe, other = context.Pipe()
        self.process = context.Process(target=site, args=(service, variant, other), daemon=True)
        self.process.start()
        other.close()
        self.channel = self.wait_for("ready")

    def tell(self, name: str, *arguments: object) -> None:
        self.pipe.send((name, *arguments))
        self.wait_for("done")

    def wait_for(self, wanted: str) -> object:
        while True:
            what, value = self.pipe.recv()
            if what == wanted:
                return value
            self.note(what, value)

    def note(self, what: str, value: object) -> None:
        assert what == "got", what
        got(self.name, value["from"], value)

    def listen(self) -> None:
        while self.pipe.poll():
            self.note(*self.pipe.recv())

    def end(self) -> None:
        self.pipe.send(None)
        self.wait_for("ended")
        self.process.join()


def main(variant: str) -> None:
    context = multiprocessing.get_context("spawn")
    sites = [Remote(context, service, variant) for service in SERVICES]
    for member in sites:
        member.tell("group_add", "everybody", "me")
    for member in sites[1:]:
        member.tell("group_add", "two", "me")

    for sender in sites:
        for number, payload in enumerate(sendable(variant)):
            message = {"type": "news", "from": sender.name, "number": number, "part": payload, "ż": [None, 1.5, True]}
            send(sender, sites, "everybody", message)
            if len(payload) < 10_000:
                send(sender, sites[1:], "two", message | {"only": "two"})
    wait(sites)

    # A message to one channel, and to a group that a member has left.
    for receiver in sites:
        message = {"type": "letter", "from": sites[0].name, "to": receiver.name}
        sites[0].tell("send", receiver.channel, message)
        expect(receiver.name, sites[0].name, message)
    sites[2].tell("group_discard", "two", "me")
    send(sites[1], sites[1:2], "two", {"type": "news", "from": sites[1].name, "part": "for one"})
    for sender in sites:
        send(sender, sites, "everybody", {"type": "news", "from": sender.name, "part": "the end"})
    wait(sites)
    settle()
    for member in sites:
        member.end()


def sendable(variant: str) -> list:
    """JSON knows no bytes."""
    return [payload for payload in payloads() if variant != "json" or isinstance(payload, str)]


def send(sender: Remote, receivers: list[Remote], group: str, message: dict) -> None:
    sender.tell("group_send", group, message)
    for receiver in receivers:
        expect(receiver.name, sender.name, message)


def wait(sites: list[Remote]) -> None:
    """The processes report over pipes: they are read until all is there."""

    def listen() -> bool:
        for member in sites:
            member.listen()
        return complete()

    try:
        until("everything has arrived", listen)
    except TimeoutError as error:
        print(error, file=sys.stderr)


if __name__ == "__main__":
    main(sys.argv[1])
