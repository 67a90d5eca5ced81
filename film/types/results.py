"""What came of it: takes of segments, and finished films."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from film.types.base import Struct


class SegmentEnd(Struct, frozen=True, kw_only=True):
    """How the encoded frames change at one end of a segment, for the report of a seam."""

    steps: tuple[float, ...]
    """Mean change of the picture in ordinary steps from one frame to the next, in levels of 255:
    the first two steps of a segment, or the last two before the one into its last frame. Fewer if
    it has fewer frames."""
    colour_shifts: tuple[float, ...]
    """Change of the mean colour in the same steps, in levels of 255."""
    sharpness: float
    """Mean size of the Laplacian of the luma over three frames, in levels of 255."""
    last_step: float = 0.0
    """At the end of a segment: the change into its last frame. That one is a keyframe, which
    differs a little from the frames before it: the change counts as part of the seam."""
    last_colour_shift: float = 0.0
    """The change of the mean colour in the same step."""


class VideoContents(Struct, frozen=True, kw_only=True):
    """What the encoded frames of a segment are, found while every one of them was decoded.

    A film that holds exactly these packets needs no second decoding.
    """

    num_frames: int
    width: int
    """Pixels."""
    height: int
    """Pixels."""
    fps: Fraction
    header_sha256: str
    """Digest of the decoder's header; segments with the same one can be joined by copying."""
    packets_sha256: str
    """Digest of the packets with their places in the order of showing (`media.packets`)."""
    start: SegmentEnd
    end: SegmentEnd


class Take(Struct, frozen=True, kw_only=True):
    """One rendered result of a segment, with what made it."""

    address: str
    video_key: str
    """Object key of the encoded frames (mp4, video only)."""
    tail_key: str
    """Object key of the last frames, lossless."""
    num_frames: int
    size_bytes: int
    sha256: str
    """Hex digest of the video object."""
    made_by: dict[str, Any]
    """Library versions, device, threads, seconds of each stage, peak memory."""
    sound_key: str | None = None
    """Object key of its sound, lossless; None if the model creates none."""
    sound_lead: int = 0
    """Samples of the sound before the first kept frame: what was made to the echoed ones."""
    contents: VideoContents | None = None
    """None in takes of earlier versions."""
    stored_bytes: int | None = None
    """Size of all its objects; None in takes of earlier versions."""


class SeamReport(Struct, frozen=True, kw_only=True):
    """The changes at a place at which one segment continues another, measured in the finished
    film."""

    frame: int
    """First frame after the seam."""
    colour_shift: float
    """Levels of 255 by which the mean colour changes, in the same way, beyond what it does in
    ordinary steps."""
    sharpness_change: float
    """Sharpness after the seam as a part of that before it; 1 is none."""
    motion_jump: float
    """Change of the picture over the seam or into the frame before it, whichever is larger, in
    ordinary steps around it; 1 is none."""


class FilmSound(Struct, frozen=True, kw_only=True):
    """The sound of a finished film, measured in its file (EBU R128)."""

    sample_rate: int
    """Samples a second."""
    channels: int
    loudness: float | None
    """Loudness of the whole film in LUFS; None if it is silent, or shorter than 0.4 s."""
    true_peak: float | None
    """Highest peak between samples, in dB of full scale; None if it is silent."""


class Delivery(Struct, frozen=True, kw_only=True):
    """A finished film in the store."""

    key: str
    num_frames: int
    width: int
    height: int
    fps: Fraction
    size_bytes: int
    sha256: str
    seams: tuple[SeamReport, ...] = ()
    """Reports of every segment that continues another."""
    sound: FilmSound | None = None
    """None if the film has none."""
