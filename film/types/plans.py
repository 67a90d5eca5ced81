"""A film as it is going to be rendered."""

from __future__ import annotations

from fractions import Fraction

from film.types.base import Struct
from film.types.requests import Continuity, Lora, Seam


class Scene(Struct, frozen=True, kw_only=True):
    """One beat of a film."""

    index: int
    prompt: str
    num_frames: int
    """Frames of the film that this scene fills."""
    seed: int
    seam: Seam
    continuity: Continuity = Continuity.TAIL_WINDOW
    image: str = ""
    """Digest of the picture that it begins with."""
    last_image: str = ""
    """Digest of the picture that it ends with."""


class Segment(Struct, frozen=True, kw_only=True):
    """One unit of rendering work: some frames of one scene."""

    index: int
    """Position in the film, from 0."""
    scene: int
    """Index of its scene."""
    prompt: str
    """What the model is given: the scene's, or the nearest it knows (`ModelSpec.closed_world`)."""
    seed: int
    num_frames: int
    """Frames the model renders, by its frame rule."""
    overlap_frames: int
    """Conditioning frames from the segment before; 0 after a cut. Most models repeat them at the
    beginning of their result, and there they are dropped."""
    keep_frames: int
    """Frames of the film it gives: after the repeated ones, from the head."""
    continues: int | None
    """Index of the segment whose tail conditions this one."""
    address: str
    """The content address: everything that decides its pixels, hashed (film/identity.py)."""
    image: str = ""
    """Digest of the picture that it begins with."""
    last_image: str = ""
    """Digest of the picture that it ends with."""
    keyframes: tuple[int, ...] = ()
    """For an anchor, the numbers of its frames that are its tail, for the segments between them.
    The film shows none of its frames."""
    keyframe: int | None = None
    """For a segment between two keyframes, the one that it begins with, counted from 0. It ends
    with the next; both are in the tail of the anchor, which it `continues`."""

    @property
    def is_anchor(self) -> bool:
        """True if it gives the film no frame, but the keyframes of its scene."""
        return bool(self.keyframes)


class Plan(Struct, frozen=True, kw_only=True):
    """A film as it will be rendered."""

    model: str
    revision: str
    """Digest of the model's weights."""
    width: int
    height: int
    fps: Fraction
    scenes: tuple[Scene, ...]
    segments: tuple[Segment, ...]
    model_size: tuple[int, int] | None = None
    """Width and height in pixels that the model renders; None if they are the film's."""
    notices: tuple[str, ...] = ()
    """What the user should know: the differences between the plan and the request."""
    sound: bool = False
    """True if the film has sound: its model creates some, and the user did not leave it out."""
    loras: tuple[Lora, ...] = ()
    """In the order in which they are loaded, which is always the same."""

    @property
    def rendered_size(self) -> tuple[int, int]:
        """Width and height in pixels that the model renders."""
        return self.model_size or (self.width, self.height)

    @property
    def shown(self) -> tuple[Segment, ...]:
        """The segments whose frames the film consists of: all but anchors."""
        return tuple(segment for segment in self.segments if not segment.is_anchor)

    @property
    def num_frames(self) -> int:
        """Frames of the finished film."""
        return sum(scene.num_frames for scene in self.scenes)

    @property
    def seconds(self) -> float:
        """Length of the finished film in seconds."""
        return float(self.num_frames / self.fps)
