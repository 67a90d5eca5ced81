"""A long prompt into scenes by rules: paragraphs, scene headings, sentences. Any language.

Each sentence is a beat. A film too short for all its beats puts neighbours together, so that
every scene fills about one segment at least; a long one gives each beat more time. All scenes
are of equal length, so that a changed sentence changes its own scene and no other.
"""

from __future__ import annotations

import re

from film.models import ModelSpec
from film.timeline import frame_count, group_evenly, share_frames
from film.types import FilmRequest, Scene, Seam

_HEADING = re.compile(
    r"""^\s*(?:
        (?:scene|shot|scène|szene|escena|cena|scena|сцена|シーン)\s*\d+\s*[:：.)\-–—]
        # Without a mark or a space after it, 第三场比赛 is a sentence: "the third match …".
      | 第\s*[0-9一二三四五六七八九十百]+\s*[幕场場景镜鏡](?:\s*[:：、.]|\s|$)
      | 场景\s*[0-9一二三四五六七八九十]+(?:\s*[:：、.]|\s|$)
      | \d{1,3}[.)]\s
      | [-*•]\s
    )\s*""",
    re.IGNORECASE | re.VERBOSE,
)
_CJK = re.compile(r"[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff]")
_WORD = re.compile(r"\w")
# `Take 5.`, `Paris, 1968.`, `10.`; in scripts without spaces, a few characters and a number.
_LABEL = re.compile(
    r"(?:\S+\s+|[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff]{1,4})?[#№]?\d+\s*[.:…。．：]*"
)


def plan_by_rules(request: FilmRequest, spec: ModelSpec) -> tuple[Scene, ...]:
    """The scenes of `request.prompt`, of equal length, each beginning with a cut."""
    assert request.seconds is not None
    total = frame_count(request.seconds, request.fps)
    beats = split_beats(request.prompt)
    # About a segment each, to the nearest: shorter scenes would be rendered to be thrown away.
    room = (2 * total + spec.max_frames) // (2 * spec.max_frames)
    count = min(len(beats), max(1, room))
    lengths = share_frames(total, count)
    return tuple(
        Scene(
            index=index,
            prompt=_join(group),
            num_frames=lengths[index],
            seed=request.settings.seed,
            seam=Seam.CUT,
            continuity=request.settings.continuity or spec.continuity[0],
            image=request.image if index == 0 else "",
            last_image=request.last_image if index == count - 1 else "",
        )
        for index, group in enumerate(group_evenly(beats, count))
    )


def split_beats(text: str) -> list[str]:
    """The beats of `text`: each line under a heading of its own, else each sentence.

    Headings (`Scene 3:`, `第三幕：`, `- `) are left out. A label, a sentence of at most two words
    that ends in a number (`Take 5.`), is in the beat after it. Never empty for text with a word
    in it.
    """
    pieces = [piece for block in _blocks(text) for piece in _pieces_of(block)]
    return _labelled(pieces) or [text.strip()]


def _labelled(pieces: list[tuple[str, bool]]) -> list[str]:
    """The beats of texts of which some are labels: these go before the next, or after the last."""
    if all(label for _, label in pieces):  # then they must be what is to be seen
        return [text for text, _ in pieces]
    beats: list[str] = []
    labels: list[str] = []
    for text, label in pieces:
        labels.append(text)
        if not label:
            beats.append(_join(labels))
            labels = []
    return [*beats[:-1], _join([beats[-1], *labels])]


def _blocks(text: str) -> list[str]:
    """Paragraphs and headed lines; lines that are only wrapped are put together again."""
    blocks: list[str] = []
    fresh = True
    for line in text.splitlines():
        if not line.strip():
            fresh = True
        elif fresh or _HEADING.match(line):
            blocks.append(line.strip())
            fresh = False
        elif _HEADING.fullmatch(blocks[-1]):
            blocks[-1] += f" {line.strip()}"  # or the heading would look like a part of it
        else:
            blocks[-1] = _join([blocks[-1], line.strip()])
    return blocks


def _pieces_of(block: str) -> list[tuple[str, bool]]:
    """The texts of one block, and whether each is a label; under a heading none is."""
    heading = _HEADING.match(block)
    if heading:
        body = block[heading.end() :].strip()
        return [(body, False)] if _WORD.search(body) else []
    return [(text, _LABEL.fullmatch(text) is not None) for text in _sentences(block)]


def _sentences(block: str) -> list[str]:
    """Sentences of one paragraph; a piece without any word joins the one before it."""
    import sentencex  # slow to import, and not needed by every command

    language = "zh" if _CJK.search(block) else "en"
    sentences: list[str] = []
    for piece in sentencex.segment(language, block):
        piece = piece.strip()
        if _WORD.search(piece):
            sentences.append(piece)
        elif piece and sentences:
            sentences[-1] += piece
    return sentences


def _join(parts: list[str]) -> str:
    """`parts` as running text: no space between Chinese or Japanese sentences."""
    text = parts[0]
    for part in parts[1:]:
        tight = _CJK.search(text[-2:]) or _CJK.match(part)
        text += part if tight else f" {part}"
    return text
