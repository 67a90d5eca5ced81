"""A finished plan with other seeds for some of its scenes: only these are rendered again."""

from __future__ import annotations

from collections.abc import Mapping

from db.films import campaigns, films
from film.errors import InputError
from film.types import Campaign, FilmRequest, Plan, Scene, SceneRequest, counted
from flows.farm import Farm
from flows.submission.submit import submit


def retake_film(
    farm: Farm, film_id: str, seeds: Mapping[int, int], key_id: str | None = None
) -> str:
    """Submits a film with other seeds for some scenes (counted from 1), dispatched like the first
    one, and returns the id of the new film. Raises as `submit` does, and `NotFoundError`."""
    with farm.database.read() as connection:
        film = films.get(connection, film_id)
        campaign = campaigns.of(connection, film_id)
    again = Campaign(
        name=f"Retake of {film_id}",
        films=(retaken(film.request, film.plan, seeds),),
        priority=campaign.priority,
        deadline=campaign.deadline,
        max_workers=campaign.max_workers,
    )
    (made,) = submit(farm, again, key_id=key_id)
    return made


def retaken(request: FilmRequest, plan: Plan, seeds: Mapping[int, int]) -> FilmRequest:
    """The film of `plan` with other seeds for scenes (counted from 1) and nothing else changed.

    Scenes that do not continue a changed one keep the addresses of their segments. Raises
    `InputError` if it has no such scene.
    """
    unknown = sorted(set(seeds) - {scene.index + 1 for scene in plan.scenes})
    if unknown:
        raise InputError(
            f"The film has no scene {unknown[0]}; it has {counted(len(plan.scenes), 'scene')}."
        )
    scenes = tuple(_asked(scene, plan, seeds.get(scene.index + 1)) for scene in plan.scenes)
    # What the film said for all scenes is now said by each of them.
    return request.replace(prompt="", scenes=scenes, seconds=None, image="", last_image="")


def _asked(scene: Scene, plan: Plan, seed: int | None) -> SceneRequest:
    return SceneRequest(
        prompt=scene.prompt,
        seconds=scene.num_frames / plan.fps,
        seed=scene.seed if seed is None else seed,
        seam=scene.seam,
        continuity=scene.continuity,
        image=scene.image,
        last_image=scene.last_image,
    )
