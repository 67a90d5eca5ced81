"""A leased segment as a job for a rendering process."""

from __future__ import annotations

from db.films.films import Film
from db.segments.claims import Lease
from film.families.lookup import find_model
from film.flags import filled
from film.types import JobFiles, RenderFlags, RenderJob


def render_job(lease: Lease, film: Film, files: JobFiles, machine_flags: RenderFlags) -> RenderJob:
    """The job for the segment that `lease` is for; reads and writes nothing.

    `machine_flags` are this worker's, used for each flag that the film leaves open.
    """
    plan, settings = film.plan, film.request.settings
    spec, size = find_model(plan.model), plan.rendered_size
    return RenderJob(
        segment_id=lease.id,
        attempt=lease.attempt,
        segment=plan.segments[lease.position],
        settings=settings.replace(
            model=plan.model, flags=filled(settings.flags, machine_flags, spec, size)
        ),
        revision=plan.revision,
        rendered_size=size,
        film_size=(plan.width, plan.height),
        fps=plan.fps,
        tail_frames=spec.overlap_frames,
        files=files,
    )
