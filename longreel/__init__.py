"""Longreel for scripts and notebooks.

::

    import longreel

    farm = longreel.connect()  # this machine; or connect("https://farm.example.org", key="lr_…")
    film = farm.submit("A red ball rolls to the right over green grass.", seconds=20)
    farm.download(farm.wait(film), "ball.mp4")

Workers render what is submitted: `longreel worker`, or `longreel up`. Nothing else of what is
installed beside this package is meant to be imported.
"""

from __future__ import annotations

from longreel.client import AsyncClient, Client
from longreel.connecting import connect, connect_async
from longreel.values import Campaign, Error, Film, Films, Worker

__all__ = [
    "AsyncClient",
    "Campaign",
    "Client",
    "Error",
    "Film",
    "Films",
    "Worker",
    "connect",
    "connect_async",
]
