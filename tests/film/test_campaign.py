"""Campaign files, scripts and options: every form they take, and every way they are wrong."""

from __future__ import annotations

import contextlib
import json
from datetime import UTC, datetime
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from film.errors import CampaignFileError, InputError
from film.families import DEMO
from film.reading.campaign import read_campaign, with_wishes
from film.reading.film import film_from_prompt, read_script, title_of
from film.types import Campaign, FilmRequest, Seam
from tests.film.making import few

WHOLE = """\
name: Autumn
priority: 3
defaults:
  seconds: 30
  seed: 11
  steps: 8
  negative_prompt: blur
films:
  - A fox wakes. It runs.
  - title: Waves
    prompt: The sea.
    seconds: 2.5
    fps: 24000/1001
    size: 96x64
    model: demo
    seed: 5
    guidance: 4.5
  - title: Script
    scenes:
      - Morning.
      - prompt: Evening.
        seconds: 3
        seed: 9
        seam: continue
matrix:
  prompts: [Rain., Snow.]
  seeds: [1, 2, 3]
"""


def campaign(text: str, source: str = "c.yaml") -> Campaign:
    return read_campaign(text, source, "unnamed")


def film(text: str) -> FilmRequest:
    """The one film of a campaign."""
    (only,) = campaign(text).films
    return only


def refusal(text: str, source: str = "c.yaml") -> str:
    with pytest.raises(InputError) as refused:
        campaign(text, source)
    return str(refused.value)


# -- what is read ------------------------------------------------------------------------------


def test_a_whole_campaign() -> None:
    read = campaign(WHOLE)
    assert (read.name, read.priority) == ("Autumn", 3)
    assert [made.title for made in read.films[:3]] == ["A fox wakes. It runs", "Waves", "Script"]
    assert len(read.films) == 3 + 2 * 3


def test_defaults_fill_what_a_film_leaves_out() -> None:
    first = campaign(WHOLE).films[0]
    assert first.seconds == 30
    assert first.settings.seed == 11
    assert first.settings.num_inference_steps == 8
    assert first.settings.negative_prompt == "blur"
    assert first.settings.guidance_scale == DEMO.guidance_scale
    assert (first.width, first.height, first.fps) == (96, 64, DEMO.native_fps)


def test_a_films_own_values_come_before_the_defaults() -> None:
    waves = campaign(WHOLE).films[1]
    assert waves.seconds == Fraction(5, 2)
    assert waves.fps == Fraction(24000, 1001)
    assert waves.settings.seed == 5
    assert waves.settings.guidance_scale == 4.5


def test_scenes_are_texts_or_mappings() -> None:
    morning, evening = campaign(WHOLE).films[2].scenes
    assert (morning.prompt, morning.seconds, morning.seed) == ("Morning.", None, None)
    assert (morning.seam, evening.seam) == (Seam.CUT, Seam.CONTINUE)
    assert (evening.seconds, evening.seed) == (3, 9)


def test_a_matrix_makes_every_combination_in_order() -> None:
    made = campaign(WHOLE).films[3:]
    assert [(one.prompt, one.settings.seed) for one in made] == [
        (prompt, seed) for prompt in ("Rain.", "Snow.") for seed in (1, 2, 3)
    ]
    assert {one.seconds for one in made} == {30}


def test_a_matrix_has_axes_for_sizes_and_models() -> None:
    text = "defaults: {prompt: Rain.}\nmatrix: {sizes: [96x64, 64x96], models: [demo], seeds: [1]}"
    assert [(made.width, made.height) for made in campaign(text).films] == [(96, 64), (64, 96)]


def test_films_of_a_matrix_are_told_apart_by_their_titles() -> None:
    text = "matrix: {prompts: [Rain., Snow.], seeds: [1, 2]}"
    assert [made.title for made in campaign(text).films] == [
        "Rain · seed 1",
        "Rain · seed 2",
        "Snow · seed 1",
        "Snow · seed 2",
    ]
    text = "defaults: {prompt: Rain.}\nmatrix: {sizes: [96x64, 64x96]}"
    assert [made.title for made in campaign(text).films] == [
        "Rain · size 96x64",
        "Rain · size 64x96",
    ]
    assert film("matrix: {prompts: [Rain.], seeds: [1]}").title == "Rain"


def test_a_film_of_scenes_does_not_inherit_a_prompt() -> None:
    made = film("defaults: {prompt: Rain.}\nfilms: [{scenes: [Sun.]}]")
    assert (made.prompt, made.seconds) == ("", None)


def test_an_empty_value_is_no_value() -> None:
    assert film("defaults: {seed: 3}\nfilms: [{prompt: Rain., seed: }]").settings.seed == 3


def test_json_lines_are_films() -> None:
    lines = [{"prompt": "Rain.", "steps": 4}, {"title": "T", "scenes": ["Sun.", "Moon."]}]
    text = "\n".join(map(json.dumps, lines)) + "\n\n"
    read = campaign(text, "c.jsonl")
    assert read.name == "unnamed"
    assert [made.title for made in read.films] == ["Rain", "T"]
    assert read.films[0].settings.num_inference_steps == 4


def test_a_line_of_json_ends_at_the_line_feed_only() -> None:
    text = json.dumps({"prompt": "One.\u2028Two."}, ensure_ascii=False)
    assert campaign(text, "c.jsonl").films[0].prompt == "One.\u2028Two."


def test_csv_rows_are_films_and_empty_cells_are_left_out() -> None:
    text = 'title,prompt,seconds , seed\nT,"Rain, and\nwind.",2.5,\n,Sun.,,4\n'
    rain, sun = campaign(text, "c.csv").films
    assert (rain.title, rain.prompt, rain.seconds) == ("T", "Rain, and\nwind.", Fraction(5, 2))
    assert (sun.title, sun.seconds, sun.settings.seed) == ("Sun", 20, 4)


@pytest.mark.parametrize(
    "text",
    [
        "prompt,seed\n\nRain.,4\n\n",
        "prompt,seed\n,\n  , \nRain.,4\n,\n",
        ",\nprompt,seed\nRain.,4\n",
        "prompt,seed,,\nRain.,4,,\n,,,\n",
        "prompt,,seed\nRain.,,4\n",
        "sep=,\nprompt,seed\nRain.,4\n",
        "prompt,seed\rRain.,4\r",  # Excel's "CSV (Macintosh)"
        "\ufeffsep=;\r\nprompt;seed\r\nRain.;4\r\n;\r\n",
    ],
)
def test_what_a_spreadsheet_leaves_empty_is_nothing(text: str) -> None:
    (film,) = campaign(text, "C.CSV").films
    assert (film.prompt, film.settings.seed) == ("Rain.", 4)


def test_lines_are_counted_with_the_one_that_names_the_separator() -> None:
    text = "sep=;\nprompt;seed\n;\nRain.;x\n"
    assert "c.csv:4: seed: expected a whole number" in refusal(text, "c.csv")


def test_the_ending_of_a_name_may_be_in_capitals() -> None:
    assert campaign('{"prompt": "Rain."}', "C.JSONL").films[0].prompt == "Rain."


def test_a_title_is_one_line() -> None:
    (film,) = campaign('title,prompt\n"Two\nlines \x1b[31m",Rain.\n', "c.csv").films
    assert film.title == "Two lines ?[31m"


@pytest.mark.parametrize("seed", [-1, 2**31, 804822466654819])
def test_a_seed_outside_its_range_is_named_with_it(seed: int) -> None:
    said = refusal(f"prompt,seed\na,{seed}\n", "c.csv")
    assert f"expected a seed from 0 to 2147483647, got {seed}" in said.replace("'", "")


@pytest.mark.parametrize("source", ["c.yaml", "c.csv"])
def test_a_byte_order_mark_is_no_part_of_the_file(source: str) -> None:
    text = {"c.yaml": "films: [Rain.]", "c.csv": "prompt\nRain.\n"}[source]
    assert campaign("\ufeff" + text, source).films[0].prompt == "Rain."


def test_a_script_with_options_over_it() -> None:
    text = "title: T\nseed: 3\nsteps: 5\nscenes: [One., {prompt: Two., seconds: 2}]\n"
    read = read_script(text, "s.yaml", {"seed": 4, "num_inference_steps": 6, "size": None})
    assert (read.title, read.settings.seed, read.settings.num_inference_steps) == ("T", 4, 6)
    assert [scene.prompt for scene in read.scenes] == ["One.", "Two."]


def test_a_prompt_with_options() -> None:
    read = film_from_prompt(" A fox. ", {"seconds": "1.5", "size": "96×64", "seed": None})
    assert (read.prompt, read.title, read.seconds) == ("A fox.", "A fox", Fraction(3, 2))


def test_an_option_that_is_wrong_is_told_without_a_file() -> None:
    with pytest.raises(
        CampaignFileError, match=r"^seed: expected a seed from 0 to 2147483647, got -1$"
    ):
        film_from_prompt("A fox.", {"seed": -1})


@pytest.mark.parametrize(
    ("prompt", "title"),
    [
        ("A fox.", "A fox"),
        ("雨が降る。", "雨が降る"),
        ("word " * 20, "word " * 8 + "word…"),
        ("夜" * 60, "夜" * 48 + "…"),
        ("two\nlines", "two lines"),
    ],
)
def test_a_title_is_the_beginning_of_the_prompt(prompt: str, title: str) -> None:
    assert title_of(prompt) == title


@pytest.mark.parametrize(
    ("key", "value", "read"),
    [
        ("fps", "24000/1001", Fraction(24000, 1001)),
        ("fps", "23.976", Fraction(2997, 125)),
        ("fps", 120, Fraction(120)),
        ("seconds", "1/3", Fraction(1, 3)),
        ("title", 7, "7"),
        ("title", "  T  ", "T"),
    ],
)
def test_values_are_exact(key: str, value: object, read: object) -> None:
    assert getattr(film_from_prompt("A fox.", {key: value}), key) == read


@pytest.mark.parametrize(("seed", "read"), [(0, 0), ("12", 12), (2**31 - 1, 2**31 - 1), (3.0, 3)])
def test_seeds_are_whole_numbers_of_31_bits(seed: object, read: int) -> None:
    assert film_from_prompt("A fox.", {"seed": seed}).settings.seed == read


# -- what is refused, and in which line ----------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("name: x\nfilm: []", "c.yaml:2: unknown key 'film'; did you mean 'films'?"),
        ("films:\n- prompt: a\n  sed: 1", "c.yaml:3: unknown key 'sed'; did you mean 'seed'?"),
        ("defaults:\n  sede: 3\nfilms: [a]", "c.yaml:2: unknown key 'sede'"),
        ("defaults:\n  title: x\nfilms: [a]", "c.yaml:2: unknown key 'title'"),
        ("films: [a]\nmatrix:\n  seed: [1]", "c.yaml:3: unknown key 'seed'; did you mean 'seeds'?"),
        ("films:\n- scenes:\n  - a\n  - prompt: b\n    sec: 1", "c.yaml:5: unknown key 'sec'"),
        ("1: x", "c.yaml:1: unknown key '1'"),
        ("? [a, b]\n: x", "c.yaml:1: unknown key"),
        ("name: a\nname: b", "c.yaml:2: found duplicate key \"name\""),
        ("films:\n- prompt: a\n  steps: 1\n  num_inference_steps: 2",
         "num_inference_steps is given twice"),
        ("name: [", "c.yaml:1: "),
        ("films:\n\t- a", "c.yaml:2: found character '\\t'"),
        ("films: a\n b: c: d", "c.yaml:2: "),
        ("--- a\n--- b", "c.yaml:2: but found another document"),
        ("films: ![a", "c.yaml:1: "),
        ("films: !!bool maybe", "c.yaml: not YAML"),
        ("- a", "c.yaml:1: expected keys and values here, got ['a']"),
        ("just text", "c.yaml:1: expected keys and values here, got 'just text'"),
        ("films: a", "c.yaml:1: films: expected a list"),
        ("films:\n- a\n- 3", "c.yaml:3: expected keys and values here, got 3"),
        ("films:\n- a\n-\n- b", "c.yaml:"),
        ("films: [{scenes: a}]", "c.yaml:1: scenes: expected a list"),
        ("films: [{scenes: []}]", "c.yaml:1: scenes: the list is empty"),
        ("films: [{scenes: [{prompt: ' '}]}]", "c.yaml:1: a scene needs a prompt with text in it"),
        ("films:\n- seed: 1", "c.yaml:2: a film needs a prompt with text in it, or scenes"),
        ("films:\n- prompt: a\n  scenes: [b]", "c.yaml:2: a film has either a prompt or scenes"),
        ("films:\n- scenes:\n  - {prompt: a, seam: continue}",
         "c.yaml:2: the first scene has nothing to continue"),
        ("films: []", "The campaign has no films"),
        ("name: x", "The campaign has no films"),
        ("defaults: [a]\nfilms: [a]", "c.yaml:1: expected keys and values here"),
        ("films: [a]\nmatrix: a", "c.yaml:2: expected keys and values here"),
        ("matrix:\n  seeds: 3", "c.yaml:2: seeds: expected a list with at least one value"),
        ("matrix:\n  seeds: []", "c.yaml:2: seeds: expected a list with at least one value"),
        ("name: x\nmatrix:\n  seeds: [1]", "c.yaml:2: a film needs a prompt"),
        ("priority: high\nfilms: [a]", "c.yaml:1: priority: expected a whole number, got 'high'"),
        ("defaults:\n  seed: -1\nfilms:\n- a\n- b", "c.yaml:2: seed: expected a seed from 0 to"),
        ("films:\n- prompt: a\n  model: nope", "c.yaml:3: There is no model 'nope'"),
        ("films: [\"a\\0b\"]", "c.yaml:1: prompt: the text holds a NUL character; remove it"),
        ("films: [\"a\\ud800b\"]", "c.yaml:1: prompt: the text holds half a character"),
        ("films: [a\0b]", "c.yaml: not YAML: unacceptable character #x0000"),
        ("", "c.yaml: the file is empty"),
        (" \n\t\n", "c.yaml: the file is empty"),
        ("\ufeff", "c.yaml:1: expected keys and values here, got None"),
        ("# nothing", "c.yaml:1: expected keys and values here, got None"),
        ("[" * 5_000, "c.yaml: the lists and mappings are nested too deeply"),
        ("films: [0x" + "f" * 5000 + "]", "c.yaml:1: expected keys and values here, got a number"),
    ],
    ids=lambda value: repr(value)[:30],
)  # fmt: skip
def test_yaml_that_is_wrong_is_told_with_its_line(text: str, said: str) -> None:
    assert said in refusal(text)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"prompt": "a"}\n{"prompt": }', "c.jsonl:2: not JSON: "),
        ('{"prompt": "a"}\n\n3', "c.jsonl:3: expected keys and values here, got 3"),
        ('{"prompt": "a", "x": 1}', "c.jsonl:1: unknown key 'x'"),
        ('{"prompt": "a", "prompt": "b"}', "c.jsonl:1: not JSON: the key 'prompt' is given twice"),
        ('{"prompt": "a", "seconds": NaN}', "c.jsonl:1: seconds: expected a number"),
        ('{"prompt": "a", "seconds": 1e999}', "c.jsonl:1: seconds: expected a number"),
        ('{"prompt": "a", "seed": ' + "9" * 5000 + "}", "c.jsonl:1: not JSON"),
        ('{"prompt": ["a"]}', "c.jsonl:1: prompt: expected text, got ['a']"),
        ('{"prompt": "a", "scenes": {}}', "c.jsonl:1: scenes: expected a list"),
        ('{"scenes": ["a", {"prompt": "b", "seam": "fade"}]}',
         "c.jsonl:1: seam: expected cut or continue, got 'fade'"),
        ("[" * 100_000, "c.jsonl:1: the lists and mappings are nested too deeply"),
        ("\n", "c.jsonl: the file is empty"),
    ],
    ids=lambda value: repr(value)[:30],
)  # fmt: skip
def test_json_lines_that_are_wrong_are_told_with_their_line(text: str, said: str) -> None:
    assert said in refusal(text, "c.jsonl")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("prompt,seed\na,1\nb,zz\n", "c.csv:3: seed: expected a whole number, got 'zz'"),
        ("prompt,sed\na,1\n", "c.csv:1: unknown key 'sed'"),
        ("prompt\na,b\n", "c.csv:2: the row has not as many cells as the header"),
        ("prompt,seed\na\n", "c.csv:2: the row has not as many cells as the header"),
        ("prompt,prompt\na,b\n", "c.csv:1: the header names a column twice"),
        ("prompt,\na,b\n", "c.csv:2: a cell is in a column without a name"),
        ("prompt\na,\n", "c.csv:2: the row has not as many cells as the header"),
        ('prompt\n"a', "c.csv:2: unexpected end of data"),
        ("prompt\n" + "a" * 200_000, "c.csv:2: field larger than field limit"),
        ("prompt\n", "The campaign has no films"),
        ("prompt,scenes\n,a\n", "c.csv:2: scenes: expected a list"),
    ],
    ids=lambda value: repr(value)[:30],
)
def test_csv_that_is_wrong_is_told_with_its_line(text: str, said: str) -> None:
    assert said in refusal(text, "c.csv")


@pytest.mark.parametrize(
    ("text", "source"),
    [
        ("films: [{prompt: a, sound: false}, {prompt: b, sound: true}, b]", "c.yaml"),
        (
            '{"prompt": "a", "sound": false}\n{"prompt": "b", "sound": true}\n{"prompt": "c"}',
            "c.jsonl",
        ),
        ("prompt,sound\na,No\nb,yes\nc,\n", "c.csv"),
    ],
)
def test_sound_is_left_out_where_a_film_says_so(text: str, source: str) -> None:
    assert [film.sound for film in campaign(text, source).films] == [False, True, True]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("seconds", 0), ("seconds", -1), ("seconds", "soon"), ("seconds", True),
        ("seconds", float("inf")), ("seconds", float("nan")), ("seconds", "1e999999999"),
        ("seconds", 10**400), ("seconds", "9" * 4000), ("seconds", []),
        ("fps", 0), ("fps", "1/2"), ("fps", 121), ("fps", "24/0"), ("fps", 23.97602), ("fps", {}),
        ("fps", False),
        ("seed", -1), ("seed", 2**31), ("seed", 1.5), ("seed", "x"), ("seed", True),
        ("seed", float("nan")), ("seed", float("inf")), ("seed", 10**30),
        ("num_inference_steps", 0), ("num_inference_steps", 1001), ("steps", 2.5),
        ("guidance_scale", -0.1), ("guidance", 100.5), ("guidance_scale", float("nan")),
        ("size", "96"), ("size", "96x"), ("size", "-96x64"), ("size", "100000x2"), ("size", 96),
        ("size", [96, 64]),
        ("title", True), ("title", ["x"]), ("title", "a\0b"), ("negative_prompt", {}),
        ("model", "nope"), ("model", 3),
        ("sound", 1), ("sound", "loud"), ("sound", []),
    ],
    ids=lambda value: repr(value)[:20],
)  # fmt: skip
def test_a_value_out_of_range_is_refused_by_its_key(key: str, value: object) -> None:
    with pytest.raises(CampaignFileError) as refused:
        film_from_prompt("A fox.", {key: value})
    said = str(refused.value)
    assert len(said) < 5000
    long = {"steps": "num_inference_steps", "guidance": "guidance_scale"}.get(key, key)
    assert said.startswith(f"{long}: ") or "There is no model" in said


def test_a_campaign_of_too_many_films_is_refused() -> None:
    axis = list(range(400))
    text = json.dumps({"matrix": {"prompts": ["a"] * 400, "seeds": axis}})
    # JSON is YAML, and reading stops at the limit.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("film.reading.campaign.MAX_FILMS", 1000)
        assert refusal(text) == "The campaign has over 1000 films; submit it in parts."


# -- whatever is in the file -------------------------------------------------------------------

sources = st.sampled_from(["c.yaml", "c.jsonl", "c.csv"])
VALID = {
    "c.yaml": WHOLE,
    "c.jsonl": '{"prompt": "Rain.", "seconds": 2.5, "scenes": null}\n{"scenes": ["a", "b"]}\n',
    "c.csv": 'title,prompt,seconds,seed\nT,"Rain, wind.",2.5,\n,Sun.,,4\n',
}
ODD = [
    "\0", "\ufeff", "\t", "\n", "\r", ":", ": ", "- ", "[", "]", "{", "}", '"', "'", "&a ", "*a",
    "!!int ", "!!bool ", "!!set ", "!!omap ", "!!binary ", "!!timestamp ", "!!null ", "!!merge ",
    "!x ", "<<: ", "? ", "|\n", ">-\n", "%YAML 1.1\n", "---", "...", "#", "@", "`", ",", "\\", "~",
    ".inf", ".nan", "1e999", "0x1f", "2024-13-45", "true", "null", "\u2028", "\x85", "é", "🌊",
]  # fmt: skip


@given(text=st.text(max_size=60) | st.lists(st.sampled_from(ODD)).map("".join), source=sources)
@example(text="!!bool a", source="c.yaml")
@example(text="films: &a [*a]", source="c.yaml")
@few
def test_no_text_whatever_raises_anything_but_an_input_error(text: str, source: str) -> None:
    read_or_refuse(text, source)


@given(source=sources, data=st.data())
@few
def test_no_damage_to_a_file_raises_anything_but_an_input_error(
    source: str, data: st.DataObject
) -> None:
    text = VALID[source]
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(text)))
        end = start + data.draw(st.integers(0, 12))
        text = text[:start] + data.draw(st.sampled_from(ODD) | st.text(max_size=3)) + text[end:]
    read_or_refuse(text, source)


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["prompt", "scenes", "seed", "x"]), inner, max_size=3)
    ),
    max_leaves=6,
)
keys = st.sampled_from(
    ["name", "priority", "defaults", "films", "matrix", "prompt", "scenes", "seconds", "fps"]
)


@given(
    data=st.dictionaries(keys, values, max_size=5), source=st.sampled_from(["c.yaml", "c.jsonl"])
)
@few
def test_no_value_whatever_raises_anything_but_an_input_error(
    data: dict[str, Any], source: str
) -> None:
    read_or_refuse(json.dumps(data), source)


def read_or_refuse(text: str, source: str) -> None:
    with contextlib.suppress(InputError):
        assert campaign(text, source).films


def test_a_campaign_says_how_it_is_to_be_dispatched() -> None:
    text = (
        "priority: 3\ndeadline: 2026-11-30T18:00:00+01:00\nmax_workers: 4\ntags: [b, a]\n"
        "films:\n  - prompt: x\n    tags: c, a\n  - y\n"
    )
    read = read_campaign(text, "c.yaml", "c")
    assert (read.priority, read.max_workers) == (3, 4)
    assert read.deadline == datetime(2026, 11, 30, 17, tzinfo=UTC).timestamp()
    assert [film.tags for film in read.films] == [("a", "b", "c"), ("a", "b")]


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("2026-11-30", datetime(2026, 11, 30, 23, 59, 59)),
        ("2026-11-30 18:00", datetime(2026, 11, 30, 18)),
        ("'2026-11-30T18:00:30'", datetime(2026, 11, 30, 18, 0, 30)),
    ],
)
def test_a_deadline_without_a_zone_is_local_time(written: str, meant: datetime) -> None:
    read = read_campaign(f"deadline: {written}\nfilms: [x]\n", "c.yaml", "c")
    assert read.deadline == meant.timestamp()


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("deadline: soon", "expected a date such as 2026-11-30 18:00"),
        ("max_workers: 0", "expected 1 worker or more"),
        ("tags: [a b]", "expected tags of letters"),
        ("tags: {a: b}", "expected text"),
    ],
)
def test_wishes_that_cannot_be_read_are_named(line: str, says: str) -> None:
    with pytest.raises(CampaignFileError, match=f"c.yaml:1: .*{says}"):
        read_campaign(f"{line}\nfilms: [x]\n", "c.yaml", "c")


def test_options_win_over_what_the_file_wishes() -> None:
    read = read_campaign("priority: 3\ntags: a\nfilms: [x]\n", "c.yaml", "c")
    changed = with_wishes(read, {"priority": "5", "tags": "b", "max_workers": None})
    assert (changed.priority, changed.max_workers, changed.films[0].tags) == (5, None, ("b",))
    assert with_wishes(read, {}) == read
