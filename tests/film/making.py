"""Values that the tests of the domain start from, and strategies that draw any of them."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from film.families import DEMO
from film.models import Calling, ModelSpec
from film.types import Continuity, FilmRequest, Plan, RenderSettings, SceneRequest, Seam

few = settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
"""Enough examples to find what is wrong, few enough for a busy laptop."""

REVISION = "r1"
HOUR = 3600.0
RENDERING = set(RenderSettings.__struct_fields__)


def a_request(**changes: Any) -> FilmRequest:
    """A film of a long prompt; keys of its settings go to its settings."""
    of_settings = {key: changes.pop(key) for key in RENDERING & changes.keys()}
    fields: dict[str, Any] = {
        "title": "A fox",
        "prompt": "A fox wakes. It runs over a hill. Night falls.",
        "scenes": (),
        "seconds": Fraction(20),
        "width": 96,
        "height": 64,
        "fps": Fraction(8),
    }
    settings: dict[str, Any] = {
        "model": "demo",
        "seed": 7,
        "negative_prompt": "",
        "num_inference_steps": 16,
        "guidance_scale": 3.0,
    }
    return FilmRequest(**(fields | changes), settings=RenderSettings(**(settings | of_settings)))


def a_script(*scenes: SceneRequest, **changes: Any) -> FilmRequest:
    """A film of written scenes."""
    return a_request(prompt="", scenes=scenes, seconds=changes.pop("seconds", None), **changes)


def addresses(plan: Plan) -> list[str]:
    """The addresses of a plan's segments."""
    return [segment.address for segment in plan.segments]


def of_scene(plan: Plan, scene: int) -> list[str]:
    """The addresses of one scene's segments."""
    return [segment.address for segment in plan.segments if segment.scene == scene]


@st.composite
def specs(draw: st.DrawFn) -> ModelSpec:
    """Any model that keeps the rules of `ModelSpec`."""
    step = draw(st.integers(1, 8))
    overlap = draw(st.integers(0, 4)) * step + 1
    shortest = draw(st.integers(0, 6)) * step + 1
    longest = max(shortest, overlap + step) + draw(st.integers(0, 30)) * step
    return ModelSpec(
        name="any",
        title="",
        source="",
        licence="",
        family="any",
        calling=Calling(pipelines={"text": "Any"}),
        continuity=tuple(Continuity),
        long_frames=longest,
        frame_step=step,
        min_frames=shortest,
        max_frames=longest,
        sizes=((96, 64),),
        native_fps=Fraction(8),
        overlap_frames=draw(st.sampled_from((overlap, overlap, overlap, 0))),
        echoes=draw(st.sampled_from((True, True, False))),
        num_inference_steps=1,
        guidance_scale=1.0,
    )


lengths = st.one_of(st.integers(1, 200), st.integers(1, 20_000))
"""Frames of a scene."""
fractions = st.fractions(max_denominator=2000)
texts = st.text(max_size=20)
scene_requests = st.builds(
    SceneRequest,
    prompt=texts,
    seconds=st.none() | fractions,
    seed=st.none() | st.integers(0, 2**31 - 1),
    seam=st.sampled_from(Seam),
)
render_settings = st.builds(
    RenderSettings,
    model=texts,
    seed=st.integers(0, 2**31 - 1),
    negative_prompt=texts,
    num_inference_steps=st.integers(1, 1000),
    guidance_scale=st.floats(0, 100),
)
requests = st.builds(
    FilmRequest,
    title=texts,
    prompt=texts,
    scenes=st.lists(scene_requests, max_size=3).map(tuple),
    seconds=st.none() | fractions,
    width=st.integers(1, 9999),
    height=st.integers(1, 9999),
    fps=fractions,
    settings=render_settings,
)


@st.composite
def scripts(draw: st.DrawFn) -> FilmRequest:
    """A film of scenes that the demo model can render, cut and continued in any order."""
    seams = [Seam.CUT, *draw(st.lists(st.sampled_from(Seam), max_size=6))]
    frames = [draw(st.integers(1, 60)) for _ in seams]
    written = [
        SceneRequest(prompt=f"Scene {number}", seconds=Fraction(length, 8), seam=seam)
        for number, (seam, length) in enumerate(zip(seams, frames, strict=True))
    ]
    return a_script(*written)


__all__ = [
    "DEMO",
    "HOUR",
    "REVISION",
    "a_request",
    "a_script",
    "addresses",
    "few",
    "fractions",
    "lengths",
    "of_scene",
    "requests",
    "scripts",
    "specs",
]
