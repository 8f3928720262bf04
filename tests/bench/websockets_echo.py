"""The uppercase echo over WebSocket with Python's `websockets`, without an upstream.

    python3 websockets_echo.py PORT
"""

import asyncio
import sys

from websockets.asyncio.server import serve


async def upper(connection):
    async for message in connection:
        await connection.send(message.upper())


async def main(port):
    limits = {"compression": None, "max_size": 16 << 20, "ping_interval": None}
    async with serve(upper, "127.0.0.1", port, backlog=4096, **limits) as server:
        await server.serve_forever()


asyncio.run(main(int(sys.argv[1])))
