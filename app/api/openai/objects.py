"""Films as OpenAI's video objects."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Any

from sqlalchemy.engine import Connection

from db.films import films, videos
from db.films.films import Film
from db.films.listing import FilmRow
from db.films.videos import Cost, VideoRow
from film.types import FilmStatus
from flows.deliveries import film_file_name

PREFIX = "video_"
POLL_AFTER = "openai-poll-after-ms"
"""Header by which the client learns when to ask again, in milliseconds."""

_STATUS = {
    FilmStatus.DELIVERED: "completed",
    FilmStatus.FAILED: "failed",
    FilmStatus.CANCELLED: "failed",
    FilmStatus.RENDERING: "in_progress",
    FilmStatus.STITCHING: "in_progress",
}
"""All others are `queued`: the client stops asking at any other word."""


def video_id(film_id: str) -> str:
    """The id of a film's video."""
    return PREFIX + film_id


def film_id(name: str) -> str:
    """The film's id in that of a video."""
    return name.removeprefix(PREFIX)


def video_object(
    row: FilmRow, film: Film, video: VideoRow | None, cost: Cost | None
) -> dict[str, Any]:
    """What clients get for a film. `video` has what was asked for by this API; None for a film that
    was submitted in another way. `cost`: of a finished film, if it is known."""
    plan = film.plan
    return {
        "id": video_id(row.id),
        "object": "video",
        "created_at": int(row.created_at),
        "completed_at": int(row.finished_at) if row.finished_at and film.delivery else None,
        "expires_at": None,
        "status": _STATUS.get(row.status, "queued"),
        "progress": int(row.progress * 100),
        "model": video.model if video else plan.model,
        "prompt": video.prompt if video else film.request.prompt,
        "seconds": _number(Fraction(plan.num_frames) / plan.fps),
        "size": f"{plan.width}x{plan.height}",
        "remixed_from_video_id": video.made_from and video_id(video.made_from) if video else None,
        "error": _error(row),
        "media_type": "video/mp4",
        "file_name": film_file_name(film) if film.delivery else None,
        "inference_time_s": round(cost.seconds, 3) if cost else None,
        "peak_memory_mb": round(cost.peak_bytes / 2**20) if cost and cost.peak_bytes else None,
        "seed": film.request.settings.seed,
        "notices": list(plan.notices),
        "waiting": row.waiting,
        "seconds_left": row.seconds_left,
    }


def video_objects(connection: Connection, rows: Sequence[FilmRow]) -> list[dict[str, Any]]:
    """What clients get for films; those that another version of Longreel wrote are left out."""
    ids = [row.id for row in rows]
    whole, asked = films.several(connection, ids), videos.get(connection, ids)
    costs = videos.costs(connection, [one.id for one in whole.values() if one.delivery])
    return [
        video_object(row, whole[row.id], asked.get(row.id), costs.get(row.id))
        for row in rows
        if row.id in whole
    ]


def poll_after(row: FilmRow) -> str:
    """Milliseconds until a look is worth it: a twentieth of what is left, 1 to 10 s."""
    left = row.seconds_left if row.seconds_left is not None else 20.0
    return str(int(min(10.0, max(1.0, left / 20)) * 1000))


def _error(row: FilmRow) -> dict[str, str] | None:
    if row.status is FilmStatus.FAILED:
        return {"code": "render_failed", "message": row.error or "The film failed."}
    if row.status is FilmStatus.CANCELLED:
        return {"code": "cancelled", "message": "The film was cancelled."}
    return None


def _number(value: Fraction) -> str:
    return str(value.numerator) if value.denominator == 1 else f"{float(value):g}"
