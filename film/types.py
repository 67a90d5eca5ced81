"""The frozen values that flow from a prompt to a film, and every status.

Each value is a msgspec struct: immutable, typed, and exact in JSON, which is how it crosses
process boundaries and lies in the database. Durations are counted in frames; rates are exact
fractions.
"""

from __future__ import annotations

import re
import threading
from enum import StrEnum
from fractions import Fraction
from typing import Any, Literal, TypeVar

import msgspec

T = TypeVar("T")


def counted(number: int, noun: str) -> str:
    """`1 segment`, `2 segments`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


_HUGE = re.compile(r"e[-+]?[\d_]{4}", re.IGNORECASE)
"""Exponents beyond any float's: the digits of `1e999999999` would fill the memory."""


class FilmStatus(StrEnum):
    """Where a film is on its way."""

    QUEUED = "queued"
    """Submitted; nobody works on it yet."""
    RENDERING = "rendering"
    """Its segments are being rendered."""
    STITCHING = "stitching"
    """All segments are in; they are being joined and checked."""
    DELIVERED = "delivered"
    """The finished film is in the store."""
    FAILED = "failed"
    """It ended with an error; `requeue` starts it again from where it was."""
    CANCELLED = "cancelled"
    """Stopped by the user; `requeue` starts it again from where it was."""
    PAUSED = "paused"
    """Held by the user; nothing of it is dispatched until it is resumed."""

    @property
    def final(self) -> bool:
        """True where nothing more happens unless the user asks for it."""
        return self in (FilmStatus.DELIVERED, FilmStatus.FAILED, FilmStatus.CANCELLED)


class SegmentStatus(StrEnum):
    """Where a segment is on its way."""

    WAITING = "waiting"
    """The segment it continues has no take yet."""
    READY = "ready"
    """Any worker may lease it."""
    LEASED = "leased"
    """A worker renders it, and holds its lease."""
    DONE = "done"
    """Its take is in the store."""
    FAILED = "failed"
    """Its attempts are used up, or its error is permanent."""
    CANCELLED = "cancelled"
    """Its film was cancelled."""


class Seam(StrEnum):
    """How a scene begins."""

    CUT = "cut"
    """With a new picture; it depends on nothing and renders in parallel."""
    CONTINUE = "continue"
    """From the tail of the scene before it."""


class Continuity(StrEnum):
    """What a segment takes over from the one before it, within a scene and over a seam."""

    CUT = "cut"
    """Nothing: all segments render in parallel, and the picture changes at each."""
    LAST_FRAME = "last_frame"
    """The last frame: the place is kept, but not the motion."""
    TAIL_WINDOW = "tail_window"
    """The last frames: place and motion are kept."""
    NATIVE_LONG = "native_long"
    """As much as the model itself keeps in mind: a scene is one long rendering."""
    KEYFRAMES = "keyframes"
    """Nothing: each leads from one picture to the next, all in parallel. These keyframes come from
    one rendering of the whole scene in short, the anchor."""


class Cache(StrEnum):
    """What a denoiser takes over from the step before instead of computing it."""

    FIRST_BLOCK = "first_block"
    """All blocks but the first, where that one changed little."""
    TAYLORSEER = "taylorseer"
    """What attention and feed-forward layers give, predicted from earlier steps."""
    PYRAMID = "pyramid"
    """What attention layers give, in the middle of the steps."""


class Quantisation(StrEnum):
    """In what the weights of the denoiser's linear layers are kept and multiplied."""

    INT8 = "int8"
    FLOAT8 = "float8"


class Offload(StrEnum):
    """Which weights wait in main memory until they are needed on the GPU."""

    NONE = "none"
    MODEL = "model"
    """Whole components, one after another."""
    GROUP = "group"
    """Groups of layers: least memory that is still of use, since copies run beside the work."""


class Struct(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of every value: immutable, keyword-only, strict about its fields."""


class RenderFlags(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Switches of speed and memory; see film/flags.py for how they are read and checked."""

    # These decide the pixels, and are part of a segment's address.
    cache: Cache | None = None
    cache_threshold: float | None = None
    """Of `first_block`: how little that block may change, as a part of it."""
    cache_interval: int | None = None
    """Of the others: a step of so many is computed in full."""
    quantisation: Quantisation | None = None
    casting: bool = False
    """Weights of the denoiser lie in float8 and are cast where they are used."""
    tiling: bool = False
    """Pictures are encoded and decoded in tiles."""
    # These change the last bits, as another machine does; None or empty: the worker's own choice.
    attention: str = ""
    """Backend for attention, as diffusers names it."""
    compile: bool | None = None
    """The denoiser's repeated blocks are compiled. Asked for a film, its segments keep to a few
    lengths, since each is compiled for itself."""
    offload: Offload | None = None
    context_parallel: int | None = None
    """So many GPUs of one machine render a segment together."""


Expert = Literal["high", "low"]
"""Of a model with two transformers: the one for high noise, or the one for low noise."""


class Lora(Struct, frozen=True, kw_only=True):
    """A small change to a model's weights, added while a film is rendered."""

    name: str
    """Where it is, a file or a place on the hub; from submission on what people know it by."""
    digest: str = ""
    """SHA-256 of the file; empty before submission."""
    weight: float = 1.0
    """How much of it is added, -4 to 4."""
    expert: Expert | None = None
    """Which of two transformers it changes; None where the model has one."""

    def __str__(self) -> str:
        expert = f", {self.expert} noise" if self.expert else ""
        return f"{self.name} (weight {self.weight:g}{expert})"


class RenderSettings(Struct, frozen=True, kw_only=True):
    """What the user chooses about the rendering of a film, with the model's defaults filled in."""

    model: str
    seed: int
    negative_prompt: str
    num_inference_steps: int
    guidance_scale: float
    continuity: Continuity | None = None
    """How segments follow one another; None means the model's best."""
    flags: RenderFlags = RenderFlags()
    loras: tuple[Lora, ...] = ()


class SceneRequest(Struct, frozen=True, kw_only=True):
    """One scene as the user wrote it in a script; `None` means the film's own value."""

    prompt: str
    seconds: Fraction | None = None
    seed: int | None = None
    seam: Seam = Seam.CUT
    continuity: Continuity | None = None
    """Over its seam and within it; None means the film's."""
    image: str = ""
    """Picture that it begins with: a file, and from submission on the digest of its pixels."""
    last_image: str = ""
    """Picture that it ends with, likewise."""


class FilmRequest(Struct, frozen=True, kw_only=True):
    """One film as asked for: either a long `prompt` or written `scenes`."""

    title: str
    prompt: str
    """The long prompt; empty where `scenes` is given."""
    scenes: tuple[SceneRequest, ...]
    """The script; empty where `prompt` is given."""
    seconds: Fraction | None
    """Length asked for; `None` only where every scene has its own."""
    width: int
    """Pixels."""
    height: int
    """Pixels."""
    fps: Fraction
    settings: RenderSettings
    tags: tuple[str, ...] = ()
    """A worker that renders it must have all of them; sorted."""
    image: str = ""
    """Picture that it begins with: a file, and from submission on the digest of its pixels."""
    last_image: str = ""
    """Picture that it ends with, likewise."""
    sound: bool = True
    """Whether it has the sound that its model makes; a model without sound has none anyway."""
    notices: tuple[str, ...] = ()
    """What the user should know of how it was read."""


class Campaign(Struct, frozen=True, kw_only=True):
    """Many films submitted together under one brief."""

    name: str
    films: tuple[FilmRequest, ...]
    priority: int = 0
    """Higher is rendered sooner."""
    deadline: float | None = None
    """Seconds since 1970; among equals the nearest is rendered first."""
    max_workers: int | None = None
    """As many of its segments may be under way at a time."""


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
    head of what they render, where they are dropped."""
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
    """Of an anchor: numbers of the frames it renders that are its tail, for the segments between
    them. The film gets none of its frames."""
    keyframe: int | None = None
    """Of a segment between two keyframes: which one it begins with, counted from 0. It ends with
    the next; both are in the tail of the anchor, which it `continues`."""

    @property
    def is_anchor(self) -> bool:
        """Whether it gives the film no frame, but the keyframes of its scene."""
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
    """Width and height in pixels that the model renders; None where they are the film's."""
    notices: tuple[str, ...] = ()
    """What the user should know: where the plan differs from what was asked."""
    sound: bool = False
    """Whether the film has sound: its model makes some, and it was not asked to be left out."""
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


class Conditioning(Struct, frozen=True, kw_only=True):
    """The pixels carried over a seam: a lossless file with the tail of the segment before."""

    path: str
    num_frames: int
    """Those of the tail that are used."""


class LoraFile(Struct, frozen=True, kw_only=True):
    """A LoRA on this machine."""

    lora: Lora
    path: str


class RenderJob(Struct, frozen=True, kw_only=True):
    """Everything a rendering process needs for one segment; paths are local to its machine."""

    segment_id: int
    attempt: int
    address: str
    model: str
    revision: str
    """Of the model's weights."""
    prompt: str
    negative_prompt: str
    seed: int
    width: int
    """Pixels that the model renders."""
    height: int
    """Pixels that the model renders."""
    film_size: tuple[int, int]
    """Width and height in pixels of the film, to which the pictures are scaled and cropped."""
    num_frames: int
    fps: Fraction
    num_inference_steps: int
    guidance_scale: float
    overlap_frames: int
    keep_frames: int
    tail_frames: int
    """Frames of the tail to keep for the segment that may continue this one."""
    conditioning: Conditioning | None
    image_path: str | None = None
    """File of the picture that it begins with."""
    last_image_path: str | None = None
    """File of the picture that it ends with."""
    flags: RenderFlags = RenderFlags()
    loras: tuple[LoraFile, ...] = ()
    keyframes: tuple[int, ...] = ()
    """See `Segment.keyframes`: the tail is these frames, and the video all that is rendered."""
    keyframe: int | None = None
    """See `Segment.keyframe`: the two pictures are in the tail of `conditioning`."""


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
    """Of the video object."""
    made_by: dict[str, Any]
    """Library versions, device, threads, seconds of each stage, peak memory."""
    sound_key: str | None = None
    """Object key of its sound, lossless; None where the model makes none."""
    sound_lead: int = 0
    """Samples of the sound before the first kept frame: what was made to the echoed ones."""


class SeamReport(Struct, frozen=True, kw_only=True):
    """What changes where one segment continues another, measured in the finished film."""

    frame: int
    """First frame after the seam."""
    colour_shift: float
    """Levels of 255 by which the mean colour changes, beyond what it does in ordinary steps."""
    sharpness_change: float
    """Sharpness after the seam as a part of that before it; 1 is none."""
    motion_jump: float
    """Change of the picture over the seam, in ordinary steps around it; 1 is none."""


class FilmSound(Struct, frozen=True, kw_only=True):
    """The sound of a finished film, measured in its file (EBU R128)."""

    sample_rate: int
    """Samples a second."""
    channels: int
    loudness: float | None
    """Of the whole film, in LUFS; None where there is silence only, or less than 0.4 s."""
    true_peak: float | None
    """Highest peak between samples, in dB of full scale; None where there is silence only."""


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
    """Of every segment that continues another."""
    sound: FilmSound | None = None
    """None where the film has none."""


def to_json(value: Any, *, order: Literal["deterministic"] | None = "deterministic") -> Any:
    """`value` as plain JSON data (dict, list, str, …); fractions become `"24000/1001"`.

    Keys of mappings are sorted unless `order` is None.
    """
    return msgspec.to_builtins(value, enc_hook=_encode, order=order)


def from_json(kind: type[T], data: Any) -> T:
    """The inverse of `to_json`. Raises `msgspec.ValidationError` naming the path that is wrong."""
    if kind not in _READABLE:
        # msgspec looks at a class when it first reads one, and crashes the process where another
        # thread finds it in the middle of that.
        with _LOOKING:
            msgspec.json.Decoder(kind)
            _READABLE.add(kind)
    return msgspec.convert(data, kind, dec_hook=_decode)


_LOOKING = threading.Lock()
_READABLE: set[Any] = set()


def _encode(value: Any) -> Any:
    if isinstance(value, Fraction):
        return str(value)
    raise NotImplementedError(f"cannot put {type(value).__name__} into JSON")


def _decode(kind: type, data: Any) -> Any:
    if kind is Fraction:
        return parse_fraction(data)
    raise NotImplementedError(f"cannot read {kind.__name__} from JSON")


def parse_fraction(data: Any) -> Fraction:
    """An exact rate or duration from `24`, `2.5`, `"2.5"` or `"24000/1001"`.

    A float is read by its shortest decimal form, so that 0.1 means one tenth.
    Raises `ValueError` on anything else, infinities included.
    """
    if isinstance(data, bool) or not isinstance(data, (int, float, str, Fraction)):
        raise ValueError(f"expected a number, got {data!r}")
    try:
        if isinstance(data, str) and _HUGE.search(data):
            raise ValueError
        return Fraction(repr(data) if isinstance(data, float) else data)
    except (ValueError, ZeroDivisionError, OverflowError):
        raise ValueError(f"expected a number such as 24, 2.5 or 24000/1001, got {data!r}") from None
