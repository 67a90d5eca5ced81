"""Flags in force, for every family: a row promises what diffusers does, and it shows.

Against tiny pipelines of the same classes with random weights (tests/renderer/tiny.py).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from film.errors import Cancelled, FlagError
from film.families import DEMO
from film.flags import at_loading, read_flags
from film.types import Cache, Offload, RenderFlags
from renderer.pipeline import apply_flags, offload
from renderer.pipeline.diffusers_renderer import DiffusersRenderer
from renderer.protocol import Setup
from tests.renderer.test_families import Family, family, pytestmark
from tests.renderer.test_renderer import HERE, but, ignore

__all__ = ["family", "pytestmark"]

STEPS = 6
"""Enough for each cache to leave something out."""
STRONG = {
    Cache.FIRST_BLOCK: {"cache_threshold": 0.9},
    Cache.TAYLORSEER: {"cache_interval": 2},
    Cache.PYRAMID: {"cache_interval": 2},
}


def render(family: Family, flags: RenderFlags = RenderFlags()) -> bytes:  # noqa: B008
    return family.render(family.first(), num_inference_steps=STEPS, flags=flags).tobytes()


def test_a_row_names_the_caches_that_take_hold_and_leave_nothing_behind(family: Family) -> None:
    plain = render(family)
    working = []
    for cache in Cache:
        flags = RenderFlags(cache=cache, **STRONG[cache])  # type: ignore[arg-type]
        try:
            cached = render(family, flags)
        except (FlagError, RuntimeError):  # the one refuses, the other fails in the middle
            assert cache not in family.spec.caches
            family.renderer._switches.set(RenderFlags(), None)
        else:
            working.append(cache)
            assert cached != plain, f"{cache} left nothing out"
            assert render(family, flags) == cached
        assert render(family) == plain
    assert tuple(working) == family.spec.caches


def test_a_row_says_whether_its_blocks_compile_and_its_vae_tiles(family: Family) -> None:
    main = family.renderer._pipelines.main
    compiles = all(getattr(net, "_repeated_blocks", None) for net in apply_flags.denoisers(main))
    assert compiles == family.spec.compiles
    assert hasattr(main.vae, "use_tiling") == family.spec.tiles
    if family.spec.tiles:
        plain = render(family)
        assert len(render(family, RenderFlags(tiling=True))) == len(plain)
        assert main.vae.use_tiling
        assert render(family) == plain
        assert not main.vae.use_tiling


def test_attention_that_is_not_there_is_told_and_the_usual_one_comes_back(family: Family) -> None:
    plain = render(family)
    if family.spec.family != "svd":
        assert len(render(family, RenderFlags(attention="_native_math"))) == len(plain)
    with pytest.raises(FlagError):
        render(family, RenderFlags(attention="sage"))
    assert render(family) == plain


@pytest.mark.parametrize("name", ["wan2.2-t2v-14b", "ltx2", "cosmos2.5-2b", "svd-xt"])
@pytest.mark.parametrize("written", ["quantisation=int8", "quantisation=float8", "casting"])
def test_weights_in_fewer_bits_give_nearly_the_same_picture(
    name: str, written: str, tmp_path: Path
) -> None:
    flags = RenderFlags(**read_flags(written))
    plain = Family(name, tmp_path / "plain")
    few = Family(name, tmp_path / "few", flags=at_loading(flags))
    before = plain.first()
    one = plain.render(before).astype(int)
    other = few.render(before, flags=flags)
    assert 0 < np.abs(other - one).mean() < 8
    assert few.render(before, flags=flags).tobytes() == other.tobytes()
    # Both experts are changed.
    networks = apply_flags.denoisers(few.renderer._pipelines.main)
    assert len(networks) == (2 if name == "wan2.2-t2v-14b" else 1)


def test_compiled_blocks_give_nearly_the_same_picture(tmp_path: Path) -> None:
    flags = RenderFlags(compile=True)
    plain = DiffusersRenderer(DEMO, Setup(folder=HERE, threads=1))
    compiled = DiffusersRenderer(DEMO, Setup(folder=HERE, threads=1, flags=flags))
    job = but(num_inference_steps=4, flags=flags)
    one, other = (each.render(job, None, ignore).frames.astype(int) for each in (plain, compiled))
    assert np.abs(one - other).max() <= 2
    cached = flags.replace(cache=Cache.FIRST_BLOCK, cache_threshold=0.9)
    both = compiled.render(but(num_inference_steps=4, flags=cached), None, ignore)
    assert len(both.frames) == 14


def test_what_an_interrupted_job_left_in_a_cache_is_not_taken_for_the_next_ones() -> None:
    flags = RenderFlags(cache=Cache.TAYLORSEER, cache_interval=3)
    renderer = DiffusersRenderer(DEMO, Setup(folder=HERE, threads=1))
    job = but(flags=flags, num_inference_steps=8)
    whole = renderer.render(job, None, ignore).frames.tobytes()

    def stop(step: int, steps: int) -> None:
        if step == 5:
            raise Cancelled

    with pytest.raises(Cancelled):
        renderer.render(job, None, stop)
    assert renderer.render(job, None, ignore).frames.tobytes() == whole


@given(
    st.dictionaries(
        st.sampled_from(["text_encoder", "text_encoder_2", "transformer", "vae"]),
        st.integers(0, 100),
        min_size=1,
    ),
    st.integers(1, 200),
)
def test_no_more_is_moved_than_does_not_fit(sizes: dict[str, int], memory: int) -> None:
    working = [size for name, size in sizes.items() if not name.startswith("text")] or [0]
    room = memory * (1 - offload.WORKING_SHARE)
    assert offload.choose(sizes, memory) is (
        Offload.NONE
        if sum(working) <= room
        else Offload.MODEL
        if max(working) <= room
        else Offload.GROUP
    )
