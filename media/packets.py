"""The packets of a video: their times, and a digest of those of a segment.

A segment's digest is SHA-256 over its packets in the order of the file: of each the number of its
frame in the order of showing (counted from the segment's first one), whether decoding may begin at
it, its size, and its bytes. Joining by copying changes none of these.
"""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from film.errors import MediaError

_HEAD = struct.Struct("<qq?")


@dataclass(frozen=True, slots=True)
class Stamp:
    """Times of one packet, in ticks."""

    pts: int
    dts: int
    duration: int


class PacketDigest:
    """The digest of a segment, packet by packet."""

    def __init__(self) -> None:
        self._digest = hashlib.sha256()

    def add(self, packet: Any, number: int) -> None:
        """`number`: of the packet's frame, counted from the segment's first one."""
        self._digest.update(_HEAD.pack(number, packet.size, packet.is_keyframe))
        self._digest.update(packet)

    def hexdigest(self) -> str:
        """Of the packets so far."""
        return self._digest.hexdigest()


def counts(packet: Any) -> bool:
    """False for the empty packet with which PyAV flushes decoders, and for one that an edit list
    hides."""
    return packet.size > 0 and not packet.is_discard


def stamp_of(packet: Any, path: Path) -> Stamp:
    """The times of a packet of `path`. Raises `MediaError` if it is damaged or has none."""
    if packet.is_corrupt:
        raise MediaError(f"{path} is cut off or damaged.")
    if packet.pts is None:
        raise MediaError(f"{path} does not state the times of its frames.")
    dts = packet.pts if packet.dts is None else packet.dts
    return Stamp(packet.pts, dts, packet.duration or 0)


def frame_number(stamp: Stamp) -> int:
    """The place of its frame in the order of showing, if every frame lasts as long as this one;
    -1 if its time is between two places."""
    whole = stamp.duration > 0 and stamp.pts % stamp.duration == 0
    return stamp.pts // stamp.duration if whole else -1
