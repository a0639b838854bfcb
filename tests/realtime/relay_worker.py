"""A process with one member of the channel `room`, for test_relay: it answers every broadcast named `echo` by its own."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from alyx.realtime.channels import Channels
from alyx.realtime.relay import UnixRelay
from tests.realtime.talk import KINDS, Client, Rules


async def main(database: str, name: str, grace: float) -> None:
    """Live until SIGTERM."""
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    channels = Channels(KINDS, Rules().judge, UnixRelay(database, grace=grace))
    await channels.start()
    client = Client(channels, name)
    await client.say("join", "room")
    while not ended.is_set():
        for told in client.take("broadcast"):
            if told["event"] == "echo":
                await client.say("broadcast", "room", event="answer", data=told["data"])
        await asyncio.sleep(0.01)
    channels.gone(client)
    await channels.stop()


asyncio.run(main(sys.argv[1], sys.argv[2], json.loads(sys.argv[3])))
