"""Names of downloaded films: patterns, and names that every file system takes."""

from __future__ import annotations

import unicodedata
from pathlib import PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from film.errors import InputError
from flows.file_names import FIELDS, name_files, read_pattern, safe_name
from tests.app.test_film_names import a_delivered

FILLED = [f"{{{field}}}" for field in FIELDS]


def named(pattern: str, number: int = 3, title: str = "A red ball", total: int = 12) -> str:
    (name,) = name_files([(a_delivered(number, title), "Autumn: 1/2")], total, pattern)
    return name


@pytest.mark.parametrize(
    ("pattern", "name"),
    [
        ("{campaign}/{number:03}-{title}", "k3f9x2/003-a-red-ball.mp4"),
        ("{name}/{number}", "autumn-1-2/03.mp4"),
        ("{title} ({width}x{height})", "a-red-ball (96x64).mp4"),
        ("{id}-{model}-{seed:05}", "k3f9x2-3-demo-00007.mp4"),
        ("film", "film.mp4"),
        ('a<b>:"c|d?e*\x07{number}', "a_b___c_d_e__03.mp4"),
        ("con/{number}", "_con/03.mp4"),
        (".hidden", "hidden.mp4"),
        ("e\u0301 {{x}}", "é {x}.mp4"),
    ],
)
def test_patterns(pattern: str, name: str) -> None:
    assert named(pattern) == name


@pytest.mark.parametrize(
    ("pattern", "says"),
    [
        ("{speed}", "there is no field {speed}; choose from campaign, name"),
        ("{title:03}", "digits such as :03 are for number"),
        ("{number:x}", "digits such as :03"),
        ("{number!r}", "it has a conversion"),
        ("{number.real}", "there is no field"),
        ("{0}", "there is no field"),
        ("{", "cannot be read"),
        ("../{title}", "empty or only dots"),
        ("/etc/{title}", "empty or only dots"),
        ("a//b", "empty or only dots"),
        ("a/.. /b", "empty or only dots"),
        ("", "empty or only dots"),
    ],
)
def test_patterns_that_cannot_be_used(pattern: str, says: str) -> None:
    with pytest.raises(InputError) as refused:
        read_pattern(pattern)
    assert says in str(refused.value)


def test_two_films_do_not_get_the_same_name() -> None:
    films = [(a_delivered(1, "A Ball"), "x"), (a_delivered(2, "a ball!"), "x")]
    with pytest.raises(InputError, match=r"k3f9x2-1 and k3f9x2-2 would be a-ball\.mp4"):
        name_files(films, 2, "{title}")
    assert len(set(name_files(films, 2, "{title}-{number}"))) == 2


@given(st.text(max_size=300))
def test_any_text_becomes_one_safe_part_of_a_path(text: str) -> None:
    name = safe_name(text)
    assert name.strip(" .")
    assert len(name.encode()) <= 181
    assert PurePosixPath(name).name == name
    assert not any(unicodedata.category(character).startswith("C") for character in name)
    assert safe_name(name) == name


@given(
    parts=st.lists(st.text(max_size=20) | st.sampled_from(["/", "..", *FILLED])),
    title=st.text(max_size=600),
)
def test_no_pattern_and_no_title_leads_out_of_the_folder(parts: list[str], title: str) -> None:
    try:
        name = named("".join(parts), title=title)
    except InputError:
        return
    path = PurePosixPath(name)
    assert not path.is_absolute()
    assert not {"..", ".", ""} & set(name.split("/"))
    assert name.endswith(".mp4")
    assert all(len(part.encode()) < 200 for part in path.parts)
