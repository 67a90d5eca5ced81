"""A film has the sound that its model makes, from the request to the file that people get."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import pytest

from db.films import films
from db.films.films import Film
from db.segments import takes
from film.families import MODELS
from film.identity import digest, film_digest
from film.plan import plan_film
from film.reading.campaign import read_campaign
from film.timeline import sample_at
from film.types import FilmStatus, Plan, Take
from flows.farm import Farm
from flows.films.soundtrack import Fetched, list_pieces
from flows.run_local import LocalWork, WorkerOptions, working
from flows.submission.submit import submit
from media.sound.flac import read_sound
from media.verify import verify_film
from tests.conftest import Installation
from tests.film.making import a_request
from tests.flows.test_campaign import wait_for
from tests.renderer import tiny

FILM = '{"prompt": "Rain falls.", "model": "loud", "seconds": 2, "fps": 12'


def deliver(farm: Farm, work: LocalWork, asked: str) -> tuple[Film, list[Take]]:
    """The delivered film of one line of a campaign, and its takes."""
    (film_id,) = submit(farm, read_campaign(asked, "loud.jsonl", "loud"))

    def delivered() -> bool:
        with farm.database.read() as connection:
            return films.get(connection, film_id).status is FilmStatus.DELIVERED

    wait_for(lambda: work.require_working() or delivered(), "the film")
    with farm.database.read() as connection:
        return films.get(connection, film_id), takes.of_film(connection, film_id)


def sound_of(take: Take) -> str:
    assert take.sound_key
    return take.sound_key


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_a_film_is_heard_from_the_request_to_the_file(
    farm: Farm, served: Installation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = MODELS["ltx2"].replace(
        name="loud",
        source=f"package:{tiny.build('ltx2', tmp_path / 'weights')}",
        max_frames=17,
        sizes=((64, 64),),
        pixels=(64 * 64, 64 * 64),
        overlap_frames=9,
        num_inference_steps=2,
    )
    monkeypatch.setitem(MODELS, "loud", row)
    with working(farm, WorkerOptions(name="mine", models=("loud",))) as work:
        film, takes = deliver(farm, work, FILM + "}")
        silent, same = deliver(farm, work, FILM + ', "sound": false}')
        # A take whose sound is gone is rendered again, and the film is the same.
        farm.store.delete(sound_of(takes[1]))
        again, _ = deliver(farm, work, FILM + "}")
    assert film.delivery
    assert silent.delivery
    assert again.delivery
    assert again.delivery.sha256 == film.delivery.sha256
    assert farm.store.head(sound_of(takes[1]))
    assert film.plan.sound
    assert [segment.overlap_frames for segment in film.plan.segments] == [0, 9]
    for take in takes:
        farm.store.get_file(sound_of(take), tmp_path / "take.flac")
        samples, rate = read_sound(tmp_path / "take.flac")
        assert abs((len(samples) - take.sound_lead) / rate - take.num_frames / 24) <= 0.05

    done = served.json("download", film.id, "-o", str(tmp_path / "films"))
    size = {"num_frames": 24, "width": 64, "height": 64}
    info = verify_film(Path(done[0]["path"]), **size, fps=Fraction(12), sound_samples=96_000)
    assert info.sound
    assert (info.sound.samples, info.sound.start) == (96_000, 0)
    listed = {row["id"]: row["sound"] for row in served.json("ls")}
    assert (listed[film.id], listed[silent.id]) == (True, False)
    assert served.json("show", film.id)["sound"] is True
    told = served.json("show", film.id)["delivery"]["sound"]
    assert (told["sample_rate"], told["channels"]) == (48_000, 2)
    assert -40 < told["loudness"] < -12
    assert (
        f"Sound: stereo, 48 kHz, {told['loudness']:.1f} LUFS" in served.run("show", film.id).stdout
    )

    assert [take.address for take in same] == [take.address for take in takes]
    assert silent.delivery.key != film.delivery.key
    assert silent.delivery.sound is None
    farm.store.get_file(silent.delivery.key, tmp_path / "silent.mp4")
    assert verify_film(tmp_path / "silent.mp4", **size, fps=Fraction(12)).sound is None


def test_pieces_follow_the_plan_and_anchors_are_left_out() -> None:
    request = a_request(model="ltx2", seconds=Fraction(25), fps=Fraction(24), width=768, height=512)
    plan = plan_film(request, "r1", 3600)
    assert plan.sound
    silent = plan_film(request.replace(sound=False), "r1", 3600)
    addresses = [segment.address for segment in plan.segments]
    of_before = digest(["film", 1, request.title, "24", addresses])
    assert film_digest(request, silent) == of_before != film_digest(request, plan)
    fetched = [
        Fetched(video=Path(f"{n}.mp4"), sound=Path(f"{n}.flac"), sound_lead=n)
        for n in range(len(plan.segments))
    ]
    pieces = list_pieces(plan, fetched)
    assert [p.frames for p in pieces] == [s.keep_frames for s in plan.segments]
    assert [p.continued for p in pieces] == [s.overlap_frames > 0 for s in plan.segments]
    assert sum(sample_at(p.frames, plan.fps, 48_000) for p in pieces) == 25 * 48_000
    assert {p.continued for p in pieces} == {True, False}

    def changed(index: int, **values: object) -> Plan:
        """The plan with one segment that is otherwise."""
        parts = list(plan.segments)
        parts[index] = parts[index].replace(**values)
        return plan.replace(segments=tuple(parts))

    cut = [s.index for s in plan.segments if not s.overlap_frames]
    shown = [files for number, files in enumerate(fetched) if number != cut[1]]
    nothing = list_pieces(changed(cut[1], keep_frames=0, keyframes=(0, 8)), shown)
    assert len(nothing) == len(pieces) - 1
    assert [p.lead for p in nothing] == [n for n in range(len(pieces)) if n != cut[1]]
    # A segment that continues a picture of another scene does not sound into the scene before it.
    other = list_pieces(changed(cut[1], overlap_frames=1, continues=0), fetched)
    assert not other[cut[1]].continued
