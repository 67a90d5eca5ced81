"""The sound of a film, from the sounds of its segments."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from film.families.lookup import find_model
from film.types import FilmSound, Plan, Struct, VideoContents
from media.join import Track
from media.sound.loudness import gain, measure
from media.sound.mix import Piece, write_soundtrack
from media.verify import SOUND_CHANNELS, SOUND_RATE


class Fetched(Struct, frozen=True, kw_only=True):
    """The files of a take on this machine."""

    video: Path
    contents: VideoContents | None = None
    """See `Take.contents`."""
    sound: Path | None = None
    """None if it has none, or the film has no sound."""
    sound_lead: int = 0
    """See `Take.sound_lead`."""


def list_pieces(plan: Plan, fetched: Sequence[Fetched]) -> list[Piece]:
    """The sounds of the segments that the film shows, in its order."""
    pieces: list[Piece] = []
    before = None
    for segment, files in zip(plan.shown, fetched, strict=True):
        follows = before is not None and (
            segment.continues == before.index or segment.scene == before.scene
        )
        pieces.append(
            Piece(
                frames=segment.keep_frames,
                path=files.sound,
                lead=files.sound_lead,
                continued=follows and segment.overlap_frames > 0,
            )
        )
        before = segment
    return pieces


def create_track(plan: Plan, fetched: Sequence[Fetched], folder: Path) -> Track | None:
    """The film's sound as a file in `folder`; None if no segment has any.

    Raises `MediaError`, `StoreFullError`.
    """
    if not plan.sound:
        return None
    path = folder / "sound.w64"
    native = find_model(plan.model).native_fps
    loudness = write_soundtrack(list_pieces(plan, fetched), path, fps=plan.fps, native_fps=native)
    return Track(path, gain(loudness)) if loudness else None


def measure_film(film: Path, folder: Path) -> FilmSound:
    """Measures the sound of a whole film. Raises `MediaError` if it is damaged."""
    loudness = measure(film, folder)
    return FilmSound(
        sample_rate=SOUND_RATE,
        channels=SOUND_CHANNELS,
        loudness=loudness.integrated,
        true_peak=loudness.true_peak,
    )
