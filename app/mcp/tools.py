"""The tools: what each does, and the requests that it makes."""

from __future__ import annotations

import asyncio
import json
import time
from importlib.metadata import version
from typing import Annotated, Any, Literal
from urllib.parse import quote

from mcp.server.mcpserver import Context, MCPServer
from mcp.types import ToolAnnotations
from pydantic import Field

from app.mcp.api import Api, ask

INSTRUCTIONS = """\
Longreel renders long films from text on a farm of GPU workers. Submitting returns at once; films \
are rendered by workers, which may take minutes to hours. A film's id is its campaign's id, a \
dash and a number. Estimate before you submit much: GPU time costs money. Use `wait_for_film` to \
wait, and read `waiting` in a film to learn why it does not move."""
FINAL = ("delivered", "failed", "cancelled")
MOST_WAIT_SECONDS = 600
POLL_SECONDS = 1.0

Calling = Context[Any, Any]
FilmId = Annotated[str, Field(description="Id of a film, such as k3f9x2-1.")]
CampaignId = Annotated[str, Field(description="Id of a campaign, such as k3f9x2.")]
Options = Annotated[
    dict[str, Any],
    Field(
        description="Options by the keys of campaign files: seconds, size (WIDTHxHEIGHT), model, "
        "seed, fps, negative_prompt, num_inference_steps, guidance_scale, continuity, sound, "
        "title, tags, preset."
    ),
]
_READS = ToolAnnotations(read_only_hint=True)
_ADDS = ToolAnnotations(read_only_hint=False, destructive_hint=False)
_CHANGES = ToolAnnotations(read_only_hint=False, destructive_hint=False, idempotent_hint=True)
_ENDS = ToolAnnotations(read_only_hint=False, destructive_hint=True)


class Tools:
    """Every tool is a method; its docstring is what agents read."""

    def __init__(self, api: Api) -> None:
        self._api = api

    async def submit_film(self, context: Calling, prompt: str, options: Options = {}) -> Any:  # noqa: B006
        """Submit a film. A long prompt becomes several scenes. Returns its campaign; the film's id
        is the campaign's id and "-1"."""
        return await self._post_campaign(context, _one_film(prompt, options))

    async def submit_campaign(self, context: Calling, campaign: str) -> Any:
        """Submit many films: the text of a campaign file in YAML or JSON, with `films` or `matrix`
        and `defaults`. All films are checked first; if one is wrong, nothing is submitted."""
        return await self._post_campaign(context, campaign)

    async def plan_film(self, context: Calling, prompt: str, options: Options = {}) -> Any:  # noqa: B006
        """Show how a film would be split into scenes and segments. Submits nothing."""
        return await self._post_campaign(context, _one_film(prompt, options), dry_run=True)

    async def estimate_campaign(self, context: Calling, campaign: str) -> Any:
        """Estimate GPU time, time until finished, money and stored bytes of a campaign file's text
        from what similar segments used here, with the spread. Submits nothing."""
        return await self._post_campaign(context, campaign, "/api/v1/estimates")

    async def list_films(
        self,
        context: Calling,
        campaign: str | None = None,
        status: Annotated[
            str | None,
            Field(
                description="Comma-separated: queued, waiting, rendering, stitching, paused, "
                "delivered, failed, cancelled."
            ),
        ] = None,
        text: Annotated[str | None, Field(description="Part of a title.")] = None,
        after: Annotated[str | None, Field(description="`next` of the page before.")] = None,
        limit: Annotated[int, Field(ge=1, le=200)] = 20,
    ) -> Any:
        """List films with their status and progress, newest first, a page at a time."""
        wanted = {
            "campaign": campaign,
            "status": status,
            "text": text,
            "after": after,
            "limit": limit,
        }
        return await self._get(context, "/films", **wanted)

    async def show_film(self, context: Calling, film: FilmId) -> Any:
        """Show a film: status, progress, why it waits, its error."""
        return await self._get(context, f"/films/{_id(film)}")

    async def show_film_segments(self, context: Calling, film: FilmId) -> Any:
        """Show the segments of a film: their status, attempts, and what rendered them."""
        return await self._get(context, f"/films/{_id(film)}/segments")

    async def show_film_events(self, context: Calling, film: FilmId) -> Any:
        """Show what happened to a film, oldest first, with errors in full."""
        return await self._get(context, f"/films/{_id(film)}/events")

    async def show_film_delivery(self, context: Calling, film: FilmId) -> Any:
        """Show the finished film's size, digest, sound, and how well its seams turned out."""
        return await self._get(context, f"/films/{_id(film)}/delivery")

    async def wait_for_film(
        self,
        context: Calling,
        film: FilmId,
        seconds: Annotated[int, Field(ge=1, le=MOST_WAIT_SECONDS)] = 60,
    ) -> Any:
        """Wait until a film is delivered, failed or cancelled, for at most this time, and show it
        as it is then."""
        until = time.monotonic() + seconds
        while True:
            found = await self._get(context, f"/films/{_id(film)}")
            if found["status"] in FINAL or time.monotonic() > until:
                return found
            await context.report_progress(found["progress"], 1.0, found["waiting"])
            await asyncio.sleep(POLL_SECONDS)

    async def retake_scenes(
        self,
        context: Calling,
        film: FilmId,
        seeds: Annotated[
            dict[int, int], Field(description="New seeds by the scenes' numbers, from 1.")
        ],
    ) -> Any:
        """Submit a film again with other seeds for some scenes; only these are rendered."""
        return await self._post(context, f"/films/{_id(film)}/retake", {"seeds": seeds})

    async def cancel_film(self, context: Calling, film: FilmId) -> Any:
        """Cancel a film that is not finished. What was rendered is kept for a requeue."""
        return await self._post(context, f"/films/{_id(film)}/cancel")

    async def requeue_film(self, context: Calling, film: FilmId) -> Any:
        """Queue a failed or cancelled film again; what was rendered is not rendered again."""
        return await self._post(context, f"/films/{_id(film)}/requeue")

    async def remove_film(self, context: Calling, film: FilmId) -> Any:
        """Remove a finished film and its file. This cannot be undone."""
        async with self._api.client(context) as client:
            return await ask(client, "DELETE", f"/api/v1/films/{_id(film)}")

    async def list_campaigns(
        self,
        context: Calling,
        after: str | None = None,
        limit: Annotated[int, Field(ge=1, le=200)] = 20,
    ) -> Any:
        """List campaigns, newest first, a page at a time."""
        return await self._get(context, "/campaigns", after=after, limit=limit)

    async def show_campaign(self, context: Calling, campaign: CampaignId) -> Any:
        """Show a campaign: how it is dispatched, how far it is, what it used of its budget."""
        return await self._get(context, f"/campaigns/{_id(campaign)}")

    async def steer_campaign(
        self,
        context: Calling,
        campaign: CampaignId,
        paused: bool | None = None,
        priority: Annotated[int | None, Field(description="Higher is rendered sooner.")] = None,
        budget: Annotated[
            str | None, Field(description="GPU time that it may use, such as 90min or 10h.")
        ] = None,
    ) -> Any:
        """Pause or continue a campaign, or change its priority or budget; what is left out stays
        as it is."""
        wanted = {"paused": paused, "priority": priority, "budget": budget}
        body = {name: value for name, value in wanted.items() if value is not None}
        async with self._api.client(context) as client:
            return await ask(client, "PATCH", f"/api/v1/campaigns/{_id(campaign)}", json=body)

    async def list_workers(self, context: Calling) -> Any:
        """List the workers: state, device, what each renders, its speed."""
        return await self._get(context, "/workers")

    async def command_worker(
        self, context: Calling, worker: str, command: Literal["drain", "stop", "resume"]
    ) -> Any:
        """Command a worker: `drain` lets it finish its segment and take no more, `stop` makes it
        give its segment back, `resume` undoes both."""
        return await self._post(context, f"/workers/{_id(worker)}/{command}")

    async def list_models(self, context: Calling) -> Any:
        """List the models: sizes, lengths, frame rates, sound, and what each needs."""
        return await self._get(context, "/models")

    async def _get(self, context: Calling, path: str, **query: Any) -> Any:
        async with self._api.client(context) as client:
            return await ask(client, "GET", f"/api/v1{path}", params=query)

    async def _post(self, context: Calling, path: str, body: Any = None) -> Any:
        async with self._api.client(context) as client:
            more = {} if body is None else {"json": body}
            return await ask(client, "POST", f"/api/v1{path}", **more)

    async def _post_campaign(
        self, context: Calling, text: str, path: str = "/api/v1/campaigns", *, dry_run: bool = False
    ) -> Any:
        async with self._api.client(context) as client:
            return await ask(
                client,
                "POST",
                path,
                content=text.encode(),
                headers={"content-type": "application/yaml"},
                params={"dry_run": "true" if dry_run else None},
            )


def create_server(api: Api) -> MCPServer[Any]:
    """A server with all tools, which reach the farm by `api`."""
    server: MCPServer[Any] = MCPServer(
        "longreel", version=version("longreel"), instructions=INSTRUCTIONS, log_level="WARNING"
    )
    tools = Tools(api)
    for name, hints in ANNOTATIONS.items():
        server.add_tool(getattr(tools, name), annotations=hints, structured_output=False)
    return server


ANNOTATIONS = {
    "submit_film": _ADDS,
    "submit_campaign": _ADDS,
    "plan_film": _READS,
    "estimate_campaign": _READS,
    "list_films": _READS,
    "show_film": _READS,
    "show_film_segments": _READS,
    "show_film_events": _READS,
    "show_film_delivery": _READS,
    "wait_for_film": _READS,
    "retake_scenes": _ADDS,
    "cancel_film": _ENDS,
    "requeue_film": _CHANGES,
    "remove_film": _ENDS,
    "list_campaigns": _READS,
    "show_campaign": _READS,
    "steer_campaign": _CHANGES,
    "list_workers": _READS,
    "command_worker": _CHANGES,
    "list_models": _READS,
}
"""The tools, and what clients may show of them."""


def _one_film(prompt: str, options: dict[str, Any]) -> str:
    # JSON is YAML.
    return json.dumps({"films": [{**options, "prompt": prompt}]})


def _id(name: str) -> str:
    return quote(name, safe="")
