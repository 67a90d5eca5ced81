"""Which ffmpeg program is used."""

from __future__ import annotations

import shutil

import imageio_ffmpeg

from film.errors import MediaError
from film.settings import settings


def ffmpeg_path() -> str:
    """Path of the ffmpeg program.

    The one that the setting `ffmpeg` names (`LONGREEL_FFMPEG`, a path or a name on the `PATH`);
    else the one inside the imageio-ffmpeg wheel; else the system's, on platforms for which that
    wheel holds no program. Raises `MediaError` if there is none.
    """
    named = settings().ffmpeg
    if named:
        return _found(named)
    try:
        return str(imageio_ffmpeg.get_ffmpeg_exe())
    except RuntimeError:
        pass
    system = shutil.which("ffmpeg")
    if system is None:
        raise MediaError(
            "There is no ffmpeg on this machine. Install it (or the imageio-ffmpeg wheel for "
            "this platform), or set LONGREEL_FFMPEG to its path."
        )
    return system


def _found(named: str) -> str:
    path = shutil.which(named)
    if path is None:
        raise MediaError(
            f"LONGREEL_FFMPEG is {named!r}, and no program that may be run is there. "
            "Correct it, or leave it empty to use the one that comes with imageio-ffmpeg."
        )
    return path
