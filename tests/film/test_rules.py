"""Prompts of any language into beats and scenes, with no word lost."""

from __future__ import annotations

import re
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from film.families import DEMO
from film.planning import draft_scenes
from film.planning.rules import plan_by_rules, split_beats
from film.types import Seam
from tests.film.making import a_request, few


@pytest.mark.parametrize(
    ("text", "beats"),
    [
        ("A fox wakes. It runs.", ["A fox wakes.", "It runs."]),
        ("Dr. Smith walks 3.5 km. He rests.", ["Dr. Smith walks 3.5 km.", "He rests."]),
        ("What a day! Is it over?", ["What a day!", "Is it over?"]),
        ("夜晚来临。城市亮起灯光！", ["夜晚来临。", "城市亮起灯光！"]),
        ("雨が降る。猫は眠る。", ["雨が降る。", "猫は眠る。"]),
        ("雨が降る。\nA cat sleeps.", ["雨が降る。", "A cat sleeps."]),
        ("他说：“你好。”然后离开。", ["他说：“你好。”", "然后离开。"]),
        ("A fox runs over\nthe hill. It\nrests.", ["A fox runs over the hill.", "It rests."]),
        ("夜晚\n来临。", ["夜晚来临。"]),
        ("One thing\n\nAnother thing", ["One thing", "Another thing"]),
        ("Waves", ["Waves"]),
        ("🌊🔥", ["🌊🔥"]),
        ("A wave. 🌊", ["A wave.🌊"]),
        ("It waits ... Then it goes.", ["It waits ...", "Then it goes."]),
    ],
)
def test_each_sentence_is_a_beat(text: str, beats: list[str]) -> None:
    assert split_beats(text) == beats


@pytest.mark.parametrize(
    "text",
    [
        "Scene 1: A fox wakes. It yawns.\nScene 2: It runs.",
        "scene 1 - A fox wakes. It yawns.\n\nSHOT 2. It runs.",
        "Scene 1:\nA fox wakes. It yawns.\nScene 2:\nIt runs.",
        "Scene 1：A fox wakes. It yawns.\nScene 2：It runs.",
        "- A fox wakes. It yawns.\n- It runs.",
        "* A fox wakes. It yawns.\n• It runs.",
        "1. A fox wakes. It yawns.\n2. It runs.",
        "1) A fox wakes. It yawns.\n12) It runs.",
        "第一幕：A fox wakes. It yawns.\n第二幕：It runs.",
        "第1场 A fox wakes. It yawns.\n第十二場、It runs.",
        "第三幕\nA fox wakes. It yawns.\n场景四：It runs.",
        "シーン1：A fox wakes. It yawns.\nシーン2: It runs.",
    ],
)
def test_a_headed_line_is_one_beat_without_its_heading(text: str) -> None:
    assert split_beats(text) == ["A fox wakes. It yawns.", "It runs."]


@pytest.mark.parametrize(
    "text",
    ["第三场比赛开始了。", "场景一片混乱。", "Scene 3 looks good", "3.5 km of road", "-5 degrees"],
)
def test_a_sentence_that_begins_like_a_heading_is_whole(text: str) -> None:
    assert split_beats(text) == [text]


def test_a_heading_alone_is_a_beat_where_there_is_nothing_else() -> None:
    assert split_beats("Scene 1:") == ["Scene 1:"]


def test_a_heading_over_nothing_is_left_out() -> None:
    assert split_beats("Scene 1:\n\nA fox.\n\nScene 2:") == ["A fox."]


@pytest.mark.parametrize(
    ("text", "beats"),
    [
        ("Take 5. A fox wakes. Take 6. It runs.", ["Take 5. A fox wakes.", "Take 6. It runs."]),
        ("Take #5 … A fox wakes.", ["Take #5 … A fox wakes."]),
        ("Take 5.\nA fox wakes. It runs.", ["Take 5. A fox wakes.", "It runs."]),
        ("Chapter 1\n\nA fox wakes. It runs.", ["Chapter 1 A fox wakes.", "It runs."]),
        ("Paris, 1968. A fox wakes.", ["Paris, 1968. A fox wakes."]),
        ("It waits. 3. 2. 1. Lift-off.", ["It waits.", "3. 2. 1. Lift-off."]),
        ("A fox wakes. It runs. Shot 3.", ["A fox wakes.", "It runs. Shot 3."]),
        ("Кадр 3. Лиса спит. Кадр 4. Она бежит.", ["Кадр 3. Лиса спит.", "Кадр 4. Она бежит."]),
        ("المشهد ٢. ثعلب يجري.", ["المشهد ٢. ثعلب يجري."]),
        ("长镜头５。狐狸醒了。它跑了。", ["长镜头５。狐狸醒了。", "它跑了。"]),
        ("Part 1.\n\n- A fox\n- Room 101.\n- A hill", ["Part 1. A fox", "Room 101.", "A hill"]),
    ],
)
def test_a_label_that_ends_in_a_number_belongs_to_the_sentence_after_it(
    text: str, beats: list[str]
) -> None:
    assert split_beats(text) == beats


@pytest.mark.parametrize(
    "beats",
    [
        ["It is 1999.", "A fox wakes."],
        ["Is it 5?", "Room 5!", "A fox wakes."],
        ["“Take 5.”", "A fox wakes."],
        ["Take five.", "A fox wakes."],
        ["他出生于一个小镇的1990。", "狐狸醒了。"],
        ["Apollo 11.", "Saturn 5."],  # nothing else is there to be seen
    ],
)
def test_what_only_resembles_a_label_is_a_beat_of_its_own(beats: list[str]) -> None:
    assert split_beats(" ".join(beats)) == beats


@given(st.lists(st.sampled_from(["Take 5.", "12.", "Act 2:", "A fox wakes.", "It runs."])))
@few
def test_labels_add_no_beat(pieces: list[str]) -> None:
    sentences = [piece for piece in pieces if not any(c.isdigit() for c in piece)]
    text = "\n\n".join(["A hill.", *pieces])
    found = split_beats(text.replace("12.", "Take 12."))  # a line that begins with 12. is a list's
    assert len(found) == 1 + len(sentences)


def words(text: str) -> str:
    """The characters that words are made of, in order."""
    return "".join(re.findall(r"\w", text))


pieces = st.one_of(
    st.sampled_from(
        ["A fox", "runs", "Dr.", "3.5", "夜晚", "来临", "雨が降る", "。", "！", ". ", "? ", "\n",
         "\n\n", " ", '"', "“", "”", "「", "」", "(", ")", "…", "🌊", "é", "e\u0301", "—", "\r\n",
         "\u2028"]
    ),
    st.text(max_size=4),
)  # fmt: skip


@given(text=st.lists(pieces, min_size=1, max_size=25).map("".join))
@few
def test_no_word_is_lost(text: str) -> None:
    # A letter before each line keeps any of it from being a heading.
    text = "\n".join(f"q{line}" for line in text.splitlines()) or "q"
    assert words("".join(split_beats(text))) == words(text)


@given(text=st.lists(pieces, max_size=25).map("".join), count=st.integers(1, 60))
@few
def test_scenes_hold_every_beat_and_fit_the_length(text: str, count: int) -> None:
    prompt = f"q{text}"
    total = count * 8
    scenes = draft_scenes(a_request(prompt=prompt, seconds=Fraction(count)), DEMO)
    beats = split_beats(prompt)
    segments_to_fill = int(Fraction(total, DEMO.max_frames) + Fraction(1, 2))
    assert len(scenes) == min(len(beats), max(1, segments_to_fill))
    assert sum(scene.num_frames for scene in scenes) == total
    # Shorter scenes would be rendered to be thrown away.
    assert all(scene.num_frames >= min(total, DEMO.max_frames * 3 // 4) for scene in scenes)
    assert words("".join(scene.prompt for scene in scenes)) == words("".join(beats))
    assert {scene.seam for scene in scenes} == {Seam.CUT}
    assert [scene.index for scene in scenes] == list(range(len(scenes)))


def test_sentences_that_share_a_scene_are_joined_as_their_language_does() -> None:
    short = Fraction(2)
    english = plan_by_rules(a_request(prompt="A fox. It runs.", seconds=short), DEMO)
    chinese = plan_by_rules(a_request(prompt="下雨了。猫睡了。", seconds=short), DEMO)
    assert [scene.prompt for scene in english] == ["A fox. It runs."]
    assert [scene.prompt for scene in chinese] == ["下雨了。猫睡了。"]


@pytest.mark.timeout(10)
@pytest.mark.parametrize(
    ("piece", "beats"),
    [
        ("A red fox runs on. ", 2631),
        ("a", 1),
        ("夜晚。", 16_666),
        ('"a. ', None),
        ("(", 1),
        ("- a\n", 12_500),
    ],
    ids=["sentences", "one word", "Chinese", "open quotes", "brackets", "bullets"],
)
def test_a_prompt_of_50_000_characters_is_split(piece: str, beats: int | None) -> None:
    text = (piece * 50_000)[:50_000]
    text = text[: len(text) // len(piece) * len(piece)]
    found = split_beats(text)
    assert beats is None or abs(len(found) - beats) <= 1
    if not piece.startswith("-"):
        assert words("".join(found)) == words(text)
