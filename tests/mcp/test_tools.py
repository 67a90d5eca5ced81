"""The tools for agents: in this process, at a running service, and over stdin and stdout."""

from __future__ import annotations

import asyncio
import json
import re
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx2
import pytest
from mcp.client import Client
from mcp.client.stdio import StdioServerParameters, stdio_client
from mcp.client.streamable_http import streamable_http_client

from app.api.application import create_application
from app.mcp.api import OwnApi
from app.mcp.tools import ANNOTATIONS, Tools, create_server
from db import api_keys
from db.api_keys import Scope
from flows.farm import Farm
from tests.api.conftest import rows, small_farm, sqlite_template
from tests.conftest import Installation
from tests.db.farm import Farm as Rows

__all__ = ["rows", "small_farm", "sqlite_template"]

CAMPAIGN = "name: two\nfilms: [A red ball rolls., A blue square grows.]\n"
Calls = Callable[[Client], Awaitable[None]]


def in_process(farm: Farm, calls: Calls) -> None:
    """Runs calls of a client of a server in this process."""

    async def run() -> None:
        server = create_server(OwnApi(create_application(farm, keys=False), "x-user"))
        async with Client(server) as client:
            await calls(client)

    asyncio.run(run())


async def call(client: Client, name: str, **arguments: Any) -> Any:
    """What a tool answers; it must succeed."""
    result = await client.call_tool(name, arguments)
    assert not result.is_error, result.content
    return json.loads(result.content[0].text)  # type: ignore[union-attr]


async def refused(client: Client, name: str, **arguments: Any) -> str:
    """Why a tool cannot do something."""
    result = await client.call_tool(name, arguments)
    assert result.is_error, result.content
    return str(result.content[0].text)  # type: ignore[union-attr]


def test_every_tool_is_described_and_says_what_it_may_change(small_farm: Farm) -> None:
    methods = {name for name in vars(Tools) if not name.startswith("_")}
    assert methods == set(ANNOTATIONS)

    async def calls(client: Client) -> None:
        tools = (await client.list_tools()).tools
        assert {tool.name for tool in tools} == methods
        for tool in tools:
            assert tool.description
            assert tool.annotations is not None
            assert "context" not in tool.input_schema.get("properties", {})

    in_process(small_farm, calls)


def test_films_are_submitted_watched_and_steered(small_farm: Farm, rows: Rows) -> None:
    async def calls(client: Client) -> None:
        planned = await call(client, "plan_film", prompt="A red ball.", options={"seconds": 3})
        assert planned["items"][0]["frames"] == 24
        assert (await call(client, "list_films"))["items"] == []
        made = await call(client, "submit_film", prompt="A red ball.", options={"seconds": 3})
        film = f"{made['id']}-1"
        assert (await call(client, "show_film", film=film))["seconds"] == 3.0
        steered = await call(client, "steer_campaign", campaign=made["id"], priority=4)
        assert steered["priority"] == 4
        assert (await call(client, "cancel_film", film=film))["cancelled"] == [film]
        shown = await call(client, "wait_for_film", film=film, seconds=5)
        assert shown["status"] == "cancelled"
        assert (await call(client, "requeue_film", film=film))["queued"] == [film]
        kinds = [e["kind"] for e in (await call(client, "show_film_events", film=film))["items"]]
        assert kinds == ["queued", "cancelled", "queued"]
        again = await call(client, "retake_scenes", film=film, seeds={"1": 5})
        assert again["id"] != film
        both = await call(client, "submit_campaign", campaign=CAMPAIGN)
        listed = await call(client, "list_films", campaign=both["id"], limit=1)
        assert len(listed["items"]) == 1
        assert listed["next"]
        assert (await call(client, "list_campaigns"))["items"][0]["id"] == both["id"]
        assert (await call(client, "list_workers"))["items"] == []
        assert "demo" in [m["name"] for m in (await call(client, "list_models"))["items"]]

    in_process(small_farm, calls)


def test_what_is_wrong_is_said_to_the_agent(small_farm: Farm) -> None:
    async def calls(client: Client) -> None:
        assert "no film" in await refused(client, "show_film", film="none-1")
        assert "There is nothing at" in await refused(client, "show_film", film="../../v1/models")
        said = await refused(client, "submit_film", prompt="A ball.", options={"colour": "red"})
        assert "unknown key 'colour'" in said
        said = await refused(client, "submit_campaign", campaign="films: [")
        assert "body.yaml" in said
        said = await refused(client, "command_worker", worker="none", command="drain")
        assert "none" in said

    in_process(small_farm, calls)


@pytest.mark.slow
def test_at_a_service_the_tools_may_do_what_the_key_may(served: Installation) -> None:
    from flows.farm import open_farm

    farm = open_farm()
    farm.prepare_database()
    rows = Rows(farm.database)
    read = rows.write(api_keys.create, "r", [Scope.READ])
    submit = rows.write(api_keys.create, "s", [Scope.READ, Scope.SUBMIT])
    farm.close()
    process = served.start("serve", "--port", "0")
    assert process.stderr is not None
    lines = (re.search(r"The service is at (http://\S+) ", line) for line in process.stderr)
    address = next(found[1] for found in lines if found)

    async def run() -> None:
        async with connected(address, submit) as client:
            made = await call(client, "submit_film", prompt="A red ball.")
        async with connected(address, read) as client:
            film = f"{made['id']}-1"
            assert (await call(client, "show_film", film=film))["status"] == "waiting"
            assert "lacks the scope `steer`" in await refused(client, "cancel_film", film=film)
            assert "lacks the scope `submit`" in await refused(
                client, "submit_film", prompt="A ball."
            )
        async with httpx2.AsyncClient() as http:
            assert (await http.post(f"{address}/mcp", json={})).status_code == 401

    asyncio.run(run())


@asynccontextmanager
async def connected(address: str, key: str) -> AsyncIterator[Client]:
    """A client of a running service."""
    async with (
        httpx2.AsyncClient(headers={"authorization": f"Bearer {key}"}) as http,
        Client(streamable_http_client(f"{address}/mcp", http_client=http)) as client,
    ):
        yield client


@pytest.mark.slow
def test_over_stdin_and_stdout(served: Installation) -> None:
    async def run() -> None:
        parameters = StdioServerParameters(
            command=sys.executable, args=["-m", "app.cli", "mcp"], env=served.environment
        )
        async with Client(stdio_client(parameters)) as client:
            made = await call(client, "submit_film", prompt="A red ball.")
        assert served.json("show", made["id"])["films"]

    asyncio.run(run())
