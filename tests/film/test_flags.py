"""Switches of speed and memory: how they are written, what goes together, what they move."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from film.errors import InputError, SettingsError
from film.families import DEMO, MODELS
from film.flags import (
    at_loading,
    bucketed,
    deciding,
    filled,
    machine_flags,
    read_flags,
    require_flags,
    words,
)
from film.plan import plan_film
from film.reading.campaign import read_campaign
from film.reading.film import film_from_prompt
from film.settings import settings
from film.types import Cache, Offload, Quantisation, RenderFlags

FLAGS = st.builds(
    RenderFlags,
    cache=st.none() | st.sampled_from(Cache),
    cache_threshold=st.none() | st.sampled_from([0.05, 0.25]),
    cache_interval=st.none() | st.integers(2, 20),
    quantisation=st.none() | st.sampled_from(Quantisation),
    casting=st.booleans(),
    tiling=st.booleans(),
    attention=st.sampled_from(["", "flash", "_native_math"]),
    compile=st.none() | st.booleans(),
    offload=st.none() | st.sampled_from(Offload),
    context_parallel=st.none() | st.integers(2, 8),
)
WAN = MODELS["wan2.2-t2v-14b"]
LARGE = (1280, 720)


def spec_with_caches(spec: Any) -> Any:
    """So that nothing is refused but what has to do with GPUs together."""
    return spec.replace(caches=tuple(Cache))


def plan(**options: Any) -> Any:
    """A film of the demo model."""
    request = film_from_prompt("A red ball rolls. A blue square grows.", options)
    return plan_film(request, "r1", 3600.0)


def addresses(**options: Any) -> list[str]:
    return [segment.address for segment in plan(**options).segments]


@given(FLAGS)
def test_flags_are_read_as_they_are_written(flags: RenderFlags) -> None:
    assert RenderFlags(**read_flags(words(flags))) == flags
    mapping = msgspec.to_builtins(flags, enc_hook=str)
    assert RenderFlags(**read_flags(mapping)) == flags


@given(FLAGS, FLAGS)
def test_a_worker_fills_in_what_a_film_leaves_open_and_nothing_else(
    film: RenderFlags, worker: RenderFlags
) -> None:
    both = filled(film, worker, WAN, LARGE)
    assert deciding(both) == deciding(film)
    assert both.attention == (film.attention or worker.attention)
    asked = worker.compile if film.compile is None else film.compile
    assert bool(both.compile) == (bool(asked) and both.offload is not Offload.GROUP)
    if not film.context_parallel:
        assert both.offload == (film.offload or worker.offload)
    assert filled(both, worker, WAN, LARGE) == both


def test_a_worker_that_compiles_leaves_out_what_cannot_be_compiled() -> None:
    worker, mochi = RenderFlags(compile=True), MODELS["mochi"]
    assert filled(RenderFlags(), worker, WAN, LARGE).compile
    assert not filled(RenderFlags(), worker, mochi, mochi.sizes[0]).compile
    small = RenderFlags(offload=Offload.GROUP)
    assert not filled(worker, small, WAN, LARGE).compile
    assert not filled(small, worker, WAN, LARGE).compile


@given(FLAGS, FLAGS, st.sampled_from(list(MODELS.values())))
def test_gpus_that_a_worker_has_render_together_only_where_that_can_be(
    film: RenderFlags, worker: RenderFlags, spec: Any
) -> None:
    size = spec.sizes[0]
    both = filled(film, worker, spec, size)
    if film.context_parallel:
        assert (both.context_parallel, both.offload) == (film.context_parallel, film.offload)
        return
    asked = both.replace(context_parallel=worker.context_parallel)
    asked = RenderFlags(
        offload=asked.offload,
        cache=asked.cache if asked.cache is Cache.FIRST_BLOCK else None,
        context_parallel=asked.context_parallel,
    )
    film_settings = film_from_prompt("a ball", {}).settings
    try:
        require_flags(spec_with_caches(spec), film_settings.replace(flags=asked), size)
    except InputError:
        assert both.context_parallel is None
    else:
        assert both.context_parallel == worker.context_parallel


@given(FLAGS)
def test_what_is_set_for_each_job_is_not_part_of_what_a_process_is_started_with(
    flags: RenderFlags,
) -> None:
    other = flags.replace(cache=None, tiling=not flags.tiling, attention="flex")
    assert at_loading(flags) == at_loading(other)


def test_flags_are_known_in_both_spellings() -> None:
    assert read_flags("quantization=int8 cache-interval=4") == {
        "quantisation": Quantisation.INT8,
        "cache_interval": 4,
    }


@pytest.mark.parametrize(
    ("written", "problem"),
    [
        ("speed=1", "there is no flag 'speed'; the flags are cache, cache_threshold"),
        ("cache=all", "cache: expected one of first_block, taylorseer, pyramid, got 'all'"),
        ("cache_threshold=2", "expected a part between 0 and 1"),
        ("cache_interval=1", "expected 2 to 20 steps"),
        ("tiling=maybe", "tiling: expected true or false, got 'maybe'"),
        ("attention=a/b", "expected a backend such as flash"),
        ("tiling tiling=false", "a flag is given twice"),
        ("context_parallel=1", "context_parallel: expected 2 to 8 GPUs, got '1'"),
        (3, "expected flags such as cache=first_block, got 3"),
    ],
)
def test_what_cannot_be_read_is_refused_by_name(written: Any, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        read_flags(written)


@pytest.mark.parametrize(
    ("model", "flags", "problem"),
    [
        ("cosmos2.5-2b", "cache=taylorseer", "'cosmos2.5-2b' has no cache taylorseer; it has none"),
        ("ltx2", "cache=first_block", "no cache first_block; it can: taylorseer"),
        ("mochi", "compile", "'mochi' has no blocks that diffusers compiles; leave compile out"),
        ("svd-xt", "tiling", "has no tiles; leave tiling out"),
        ("demo", "cache_threshold=0.1", "cache_threshold is of the cache first_block"),
        ("demo", "cache=first_block cache_interval=3", "of the caches taylorseer and pyramid"),
        ("demo", "quantisation=int8 casting", "give one of them"),
        ("demo", "compile offload=group", "cannot be compiled"),
        ("demo", "context_parallel=2", "'demo' cannot be rendered by several GPUs together; leave"),
        ("wan2.1-t2v-14b", "context_parallel=2 offload=model", "cannot be shared; give context_"),
        ("wan2.1-t2v-14b", "context_parallel=2 cache=first_block", "Each GPU would decide for its"),
        ("wan2.1-t2v-1.3b", "context_parallel=8", "The 12 attention .* by 8 GPUs; with 2, 3, 4, 6"),
    ],
)
def test_what_a_model_cannot_do_is_refused_when_it_is_planned(
    model: str, flags: str, problem: str
) -> None:
    with pytest.raises(InputError, match=problem):
        plan(model=model, flags=flags)


def test_flags_that_decide_pixels_move_addresses_and_the_others_do_not() -> None:
    plain = addresses()
    for flags in ("cache=first_block", "quantisation=int8", "casting", "tiling"):
        assert not set(addresses(flags=flags)) & set(plain), flags
    assert addresses(flags="attention=_native_math offload=model compile=false") == plain
    wan = {"model": "wan2.1-t2v-14b"}
    assert addresses(**wan, flags="context_parallel=4") == addresses(**wan)
    weaker = addresses(flags="cache=first_block cache_threshold=0.2")
    assert not set(weaker) & set(addresses(flags="cache=first_block"))


def test_flags_come_from_files_with_defaults() -> None:
    text = """
    defaults: {flags: {cache: taylorseer, tiling: true}}
    films:
      - {prompt: a ball}
      - {prompt: a square, flags: compile}
    """
    first, second = (film.settings.flags for film in read_campaign(text, "c.yaml", "c").films)
    assert first == RenderFlags(cache=Cache.TAYLORSEER, tiling=True)
    assert second == RenderFlags(compile=True)
    with pytest.raises(InputError, match=r"c.yaml:2: flags: there is no flag 'fast'"):
        read_campaign("films:\n  - {prompt: a, flags: {fast: 1}}\n", "c.yaml", "c")


@given(st.sampled_from([spec for spec in MODELS.values() if spec.compiles]), st.integers(1, 400))
def test_a_compiled_film_keeps_to_few_lengths_that_the_model_renders(
    spec: Any, frames: int
) -> None:
    few = bucketed(spec, RenderFlags(compile=True))
    lengths = {few.snap_up(count) for count in range(1, spec.max_frames + 1)}
    assert len(lengths) <= 4
    assert lengths <= {spec.snap_up(count) for count in range(1, spec.max_frames + 1)}
    count = min(frames, spec.max_frames)
    assert spec.snap_up(count) <= few.snap_up(count) <= spec.max_frames


def test_a_compiled_film_has_as_many_frames_as_any_other() -> None:
    plain, compiled = plan(seconds=Fraction(11)), plan(seconds=Fraction(11), flags="compile")
    assert plain.num_frames == compiled.num_frames == 88


def test_a_worker_chooses_only_what_decides_no_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = machine_flags("attention=_flash_3 compile offload=none")
    assert chosen == RenderFlags(attention="_flash_3", compile=True, offload=Offload.NONE)
    assert machine_flags("context_parallel=4") == RenderFlags(context_parallel=4)
    with pytest.raises(ValueError, match="give context_parallel or offload"):
        machine_flags("context_parallel=4 offload=group")
    with pytest.raises(ValueError, match="give compile or offload"):
        machine_flags("compile offload=group")
    monkeypatch.setenv("LONGREEL_FLAGS", "cache=first_block")
    settings.cache_clear()
    with pytest.raises(SettingsError, match=r"LONGREEL_FLAGS is 'cache=.*belongs to the film"):
        settings()
    settings.cache_clear()


def test_a_film_takes_its_models_flags_unless_it_says_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    row = DEMO.replace(flags=RenderFlags(tiling=True, cache=Cache.PYRAMID))
    monkeypatch.setitem(MODELS, "demo", row)
    film = film_from_prompt("a ball", {"flags": "tiling=false"})
    assert film.settings.flags == RenderFlags(cache=Cache.PYRAMID)
