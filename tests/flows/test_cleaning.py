"""What `rm` and `clean` remove from the store, and what stays."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest

from db import api_keys, characters, files
from db.films import campaigns, removal, user_actions
from db.segments import segment_lease, takes
from db.tables import audit
from db.tables import films as film_table
from film.types import Take
from flows import cleaning
from flows.cleaning import Cleaned, clean, remove_films
from flows.farm import Farm
from storage import keys
from storage.keys import TakeFile
from tests.db.farm import DELIVERY, a_film, take_of
from tests.db.farm import Farm as Rows

NONE = Cleaned()
LATER = -60.0
"""A grace that everything is older than."""


class Stage:
    """A farm whose takes and films have files of ten bytes."""

    def __init__(self, farm: Farm, folder: Path) -> None:
        self.farm = farm
        self.rows = Rows(farm.database)
        self.file = folder / "file"
        self.file.write_bytes(b"x" * 10)

    def put(self, key: str) -> str:
        """An object under this key."""
        return self.farm.store.put_file(key, self.file).key

    def render(self) -> list[Take]:
        """Renders what there is; their takes."""
        made = []
        while lease := self.rows.try_claim():
            address = self.rows.row(lease).address
            files = {
                name: self.put(keys.take_file(address, kind, "12" * 32))
                for name, kind in (("video_key", TakeFile.VIDEO), ("tail_key", TakeFile.TAIL))
            }
            made.append(take_of(address).replace(**files))
            assert self.rows.write(segment_lease.finish, lease, made[-1])
        return made

    def deliver(self, digest: str = "cd" * 32) -> str:
        """Delivers the next film; its key."""
        from db.films import film_lease

        key = self.put(keys.film_video(digest))
        film = self.rows.claim_film()
        assert self.rows.write(film_lease.finish, film, DELIVERY.replace(key=key))
        return key

    def objects(self) -> set[str]:
        """All objects."""
        return {info.key for info in self.farm.store.list()}

    def clean(self, **options: Any) -> Cleaned:
        """Cleans what is there now, whatever its age."""
        return clean(self.farm, **{"grace_seconds": LATER, **options})


@pytest.fixture
def stage(small_farm: Farm, tmp_path: Path) -> Stage:
    return Stage(small_farm, tmp_path)


def test_nothing_that_a_film_has_is_removed(stage: Stage) -> None:
    stage.rows.submit(a_film().replace(image="ab" * 32))
    stage.render()
    stage.deliver()
    stage.rows.submit(a_film(tag="y"))
    stage.render()
    stage.put(keys.image("ab" * 32))
    before = stage.objects()
    assert stage.clean() == NONE
    assert stage.objects() == before


def test_what_a_removed_film_had_is_removed(stage: Stage) -> None:
    (film,) = stage.rows.submit(a_film(segments_each=2))
    (stays,) = stage.rows.submit(a_film(tag="y", segments_each=1))
    made = stage.render()
    key = stage.deliver()
    campaign = stage.rows.read(campaigns.of, film).id
    assert remove_films(stage.farm, campaign).film_ids == (film,)
    assert key not in stage.objects()
    would = stage.clean(dry_run=True)
    assert would == Cleaned(takes=4, size_bytes=40)
    assert len(stage.objects()) == 6
    assert stage.clean() == would
    (address,) = {row.address for row in stage.rows.rows(stays)}
    assert stage.objects() == {
        key for take in made if take.address == address for key in (take.video_key, take.tail_key)
    }
    assert stage.clean() == NONE
    # The same film again is rendered from the beginning.
    stage.rows.submit(a_film(segments_each=2))
    assert len(stage.render()) == 2


def test_takes_of_finished_films_go_only_if_that_is_wanted(stage: Stage) -> None:
    stage.rows.submit(a_film(segments_each=2))
    (shared,) = {take.address for take in stage.render()[:1]}
    key = stage.deliver()
    stage.rows.submit(a_film(segments_each=1))  # an open film with the first segment
    assert stage.clean() == NONE
    assert stage.clean(finished=True) == Cleaned(takes=2, size_bytes=20)
    assert stage.rows.read(takes.find, shared) is not None
    assert key in stage.objects()


def keep(stage: Stage, **rules: str) -> None:
    """The farm with these rules of retention."""
    stage.farm.settings = stage.farm.settings.model_copy(update=rules)


def age(stage: Stage, film: str, days: float) -> None:
    """Lets time pass since a film was finished."""
    with stage.farm.database.write() as connection:
        past = film_table.c.finished_at - days * 86_400
        connection.execute(
            film_table.update().where(film_table.c.id == film).values(finished_at=past)
        )


def test_films_are_kept_for_as_long_as_the_rule_says(stage: Stage) -> None:
    (old,) = stage.rows.submit(a_film(segments_each=1))
    stage.render()
    key = stage.deliver()
    (young,) = stage.rows.submit(a_film(tag="y", segments_each=1))
    stage.render()
    stays = stage.deliver("ef" * 32)
    (open_film,) = stage.rows.submit(a_film(tag="z", segments_each=1))
    age(stage, old, 31)
    age(stage, young, 29)
    assert stage.clean() == NONE, "without a rule, films stay"
    keep(stage, keep_films="30d")
    would = stage.clean(dry_run=True)
    assert (would.expired_films, would.size_bytes) == (1, 5000)
    assert key in stage.objects()
    done = stage.clean()
    assert (done.expired_films, done.takes) == (1, 2)
    assert {key, stays} & stage.objects() == {stays}
    assert stage.clean() == NONE
    with stage.farm.database.read() as connection:
        assert campaigns.resolve(connection, young) == [young]
        assert campaigns.resolve(connection, open_film) == [open_film]


def test_takes_of_finished_films_are_kept_for_as_long_as_the_rule_says(stage: Stage) -> None:
    (film,) = stage.rows.submit(a_film(segments_each=2))
    stage.render()
    stage.deliver()
    keep(stage, keep_takes="7d")
    assert stage.clean() == NONE
    age(stage, film, 8)
    assert stage.clean() == Cleaned(takes=4, size_bytes=40)


def test_records_of_requests_are_kept_for_as_long_as_the_rule_says(stage: Stage) -> None:
    stage.rows.write(api_keys.record, None, "r-1", "POST", "/x", 200)
    keep(stage, keep_audit="1d")
    stage.clean()
    assert len(stage.rows.read(api_keys.history, 9)) == 1
    with stage.farm.database.write() as connection:
        connection.execute(audit.update().values(at=audit.c.at - 2 * 86_400))
    stage.clean(dry_run=True)
    assert len(stage.rows.read(api_keys.history, 9)) == 1
    stage.clean()
    assert stage.rows.read(api_keys.history, 9) == []


def test_files_that_no_row_has_go_when_they_are_old(stage: Stage) -> None:
    stage.rows.submit(a_film(segments_each=1))
    (take,) = stage.render()
    late = stage.put(keys.take_file(take.address, TakeFile.VIDEO, "99" * 32))
    other = stage.put(keys.take_file("ef" * 32, TakeFile.TAIL, "99" * 32))
    film = stage.put(keys.film_video("ee" * 32))
    image, lora = stage.put(keys.image("aa" * 32)), stage.put(keys.lora("bb" * 32))
    assert stage.clean(grace_seconds=3600) == NONE
    assert stage.clean() == Cleaned(takes=2, films=1, uploads=2, size_bytes=50)
    assert stage.objects().isdisjoint({late, other, film, image, lora})
    assert {take.video_key, take.tail_key} <= stage.objects()


def test_a_store_with_more_objects_than_are_looked_at_at_once(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cleaning, "OBJECTS_AT_ONCE", 3)
    (film,) = stage.rows.submit(a_film(segments_each=5))
    stage.render()
    stage.rows.write(user_actions.cancel, film)
    remove_films(stage.farm, film)
    assert stage.clean() == Cleaned(takes=10, size_bytes=100)
    assert stage.objects() == set()


def test_a_file_of_now_is_younger_than_the_grace(stage: Stage) -> None:
    stage.put(keys.film_video("ee" * 32))
    (info,) = stage.farm.store.list()
    assert info.modified_at == pytest.approx(time.time(), abs=60)
    assert clean(stage.farm) == NONE


def test_pictures_of_a_film_stay_with_it_and_go_with_it(stage: Stage) -> None:
    (film,) = stage.rows.submit(a_film(segments_each=1))
    stage.render()
    stage.deliver()
    stills = {stage.put(keys.film_still("cd" * 32, name)) for name in keys.STILLS}
    left_over = stage.put(keys.film_still("ee" * 32, "thumbnail"))
    assert stage.clean() == Cleaned(films=1, size_bytes=10)
    assert left_over not in stage.objects()
    assert stills <= stage.objects()
    remove_films(stage.farm, film)
    assert stage.objects().isdisjoint(stills)


def test_uploaded_files_stay_while_they_are_known(stage: Stage) -> None:
    known, deleted = files.new_id(), files.new_id()
    stage.rows.write(files.insert, known, "a.jsonl", "batch", 10, "ab" * 32)
    stage.put(keys.uploaded_file(known))
    stage.put(keys.uploaded_file(deleted))
    assert stage.clean(grace_seconds=3600) == NONE
    assert stage.clean() == Cleaned(uploads=1, size_bytes=10)
    assert stage.objects() == {keys.uploaded_file(known)}


def test_the_picture_of_a_character_stays(stage: Stage) -> None:
    stage.rows.write(characters.insert, "Ada", "ab" * 32)
    stage.put(keys.image("ab" * 32))
    assert stage.clean() == NONE


def test_what_is_put_again_while_the_store_is_cleaned_stays(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = stage.put(keys.image("ab" * 32))
    path = Path(stage.farm.store.link(key, 60.0, "x").removeprefix("file://"))
    os.utime(path, (1.0, 1.0))
    looked = removal.uploads_needed

    def submit_meanwhile(connection: Any) -> set[str]:
        # The listing comes after this: the submission is between it and the deletion.
        listing = stage.farm.store.list

        def list_old(prefix: str = "") -> Any:
            for info in listing(prefix):
                yield info
                if info.key == key and info.modified_at == 1.0:
                    stage.put(key)

        monkeypatch.setattr(stage.farm.store, "list", list_old)
        return looked(connection)

    monkeypatch.setattr(removal, "uploads_needed", submit_meanwhile)
    stage.clean(grace_seconds=3600.0)
    assert key in stage.objects()
    monkeypatch.undo()
    os.utime(path, (1.0, 1.0))
    assert stage.clean(grace_seconds=3600.0).uploads == 1
    assert key not in stage.objects()
