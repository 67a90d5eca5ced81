"""Pictures of films: found from anywhere, named by their pixels, uploaded once."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from film.errors import InputError
from film.types import SceneRequest
from flows.farm import Farm
from flows.submission.image_uploads import Pictures, located
from storage import keys
from tests.film.making import a_request, a_script


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    """A picture of the user's."""
    path = tmp_path / "first.png"
    Image.new("RGB", (40, 30), (200, 10, 10)).save(path)
    return path


def test_paths_count_from_the_folder_of_the_file_that_names_them(tmp_path: Path) -> None:
    script = a_script(SceneRequest(prompt="A ball.", last_image="b.png"), image="a.png")
    (request,) = located([script], tmp_path)
    assert request.image == str(tmp_path / "a.png")
    assert request.scenes[0].last_image == str(tmp_path / "b.png")
    (plain,) = located([a_request()], tmp_path)
    assert plain == a_request()


def test_a_picture_is_named_by_its_pixels_and_uploaded_once(
    small_farm: Farm, picture: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "copy.png"
    Image.open(picture).save(copy, optimize=True)
    pictures = Pictures()
    named = pictures.named(a_request(image=str(picture), last_image=str(copy)))
    assert named.image == named.last_image
    assert len(named.image) == 64
    assert pictures.named(named) == named, "a digest stays"
    pictures.keep(small_farm.store)
    fetched = tmp_path / "fetched.png"
    small_farm.store.get_file(keys.image(named.image), fetched)
    with Image.open(fetched) as image:
        assert image.getpixel((0, 0)) == (200, 10, 10)


def test_a_picture_that_changes_while_it_is_submitted_is_not_uploaded(
    small_farm: Farm, picture: Path
) -> None:
    pictures = Pictures()
    pictures.named(a_request(image=str(picture)))
    Image.new("RGB", (40, 30), (0, 0, 0)).save(picture)
    with pytest.raises(InputError, match=r"first\.png was changed while it was submitted"):
        pictures.keep(small_farm.store)
    assert list(small_farm.store.list()) == []


def test_a_picture_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"gone\.png"):
        Pictures().named(a_request(image=str(tmp_path / "gone.png")))
