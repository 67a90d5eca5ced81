"""Runs one ffmpeg graph: fed through a pipe or not, watched, and killed when it stalls."""

from __future__ import annotations

import os
import re
import select
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import IO, Any

from film.errors import LongreelError, MediaError
from media.atomic_files import full
from media.ffmpeg.executable import ffmpeg_path

GLOBAL_ARGS = ("-hide_banner", "-nostdin", "-nostats", "-loglevel", "error", "-xerror")
BITEXACT = {"fflags": "+bitexact", "flags:v": "+bitexact", "map_metadata": "-1"}
"""Output options that leave out dates and versions, so that the same input gives the same bytes."""
BITEXACT_SOUND = {"fflags": "+bitexact", "flags:a": "+bitexact", "map_metadata": "-1"}
"""The same for files of sound."""
SAME_EVERYWHERE = ("-cpuflags", "0")
"""Arithmetic that is alike on every make of processor; the AAC encoder's is not, and costs a tenth
more."""

_NO_SPACE = re.compile(r"No space left on device|Disk quota exceeded", re.IGNORECASE)
_ADDRESS = re.compile(r" @ 0x[0-9a-f]+")
_NOISE = re.compile(r"^(Conversion failed!|Error while (processing|decoding)|\s*$)")
_LOG_BYTES = 64 * 1024
_LINE_CHARS = 300


def run(
    graph: Any,
    *,
    doing: str,
    patience: float,
    chunks: Iterable[memoryview] | None = None,
) -> None:
    """Runs `graph` (made with ffmpeg-python) until it finishes.

    `chunks` are written to its standard input one after the other. `doing` is for messages
    ("encoding a.mp4"). `patience` is in seconds: how long ffmpeg may refuse to take more input, and
    how long it may work once it has all of it; time spent in `chunks` itself does not count. Raises
    `MediaError` if ffmpeg fails or stalls, `StoreFullError` if the disk is full. ffmpeg is dead
    when this returns or raises.
    """
    # stderr goes to a file: unlike a pipe, ffmpeg does not wait for it to be read.
    with tempfile.TemporaryFile() as log, _started(graph, log, chunks is not None) as process:
        took_all = _feed(process, chunks, doing, patience)
        try:
            code = process.wait(patience)
        except subprocess.TimeoutExpired:
            raise _stalled(doing, patience) from None
        if code != 0 or not took_all:
            raise _failure(log, code, doing)


@contextmanager
def _started(graph: Any, log: IO[bytes], fed: bool) -> Iterator[subprocess.Popen[bytes]]:
    command = graph.global_args(*GLOBAL_ARGS).compile(cmd=ffmpeg_path(), overwrite_output=True)
    try:
        process = subprocess.Popen(
            command,
            bufsize=0,
            stdin=subprocess.PIPE if fed else subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=log,
            # Its own group: an interrupt from the keyboard reaches only us, and we kill it.
            process_group=0,
        )
    except OSError as error:
        raise MediaError(f"ffmpeg cannot be started: {error}") from error
    try:
        yield process
    finally:
        if process.stdin is not None:
            process.stdin.close()
        if process.poll() is None:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _feed(
    process: subprocess.Popen[bytes],
    chunks: Iterable[memoryview] | None,
    doing: str,
    patience: float,
) -> bool:
    """Writes all `chunks`, then closes the pipe. False if ffmpeg closed it before."""
    if chunks is None or process.stdin is None:
        return True
    pipe = process.stdin.fileno()
    os.set_blocking(pipe, False)
    writable = select.poll()
    writable.register(pipe, select.POLLOUT)
    try:
        for chunk in chunks:
            _write(pipe, writable, chunk, doing, patience)
    except BrokenPipeError:
        return False
    process.stdin.close()
    return True


def _write(
    pipe: int, writable: select.poll, chunk: memoryview, doing: str, patience: float
) -> None:
    sent = 0
    since = time.monotonic()
    while sent < len(chunk):
        # The limit is on silence, not on the chunk: a slow ffmpeg that takes bytes is alive.
        left = since + patience - time.monotonic()
        if left <= 0 or not writable.poll(left * 1000):
            raise _stalled(doing, patience)
        with suppress(BlockingIOError):
            sent += os.write(pipe, chunk[sent:])
            since = time.monotonic()


def _stalled(doing: str, patience: float) -> MediaError:
    return MediaError(
        f"ffmpeg did nothing for {patience:g} s while {doing}, and was stopped. "
        "See whether the disk answers and the machine is overloaded."
    )


def _failure(log: IO[bytes], code: int, doing: str) -> LongreelError:
    log.seek(0)
    text = log.read(_LOG_BYTES).decode(errors="replace")
    if _NO_SPACE.search(text):
        return full(doing)
    if code < 0:
        return MediaError(
            f"ffmpeg was killed by {_signal_name(-code)} while {doing}. "
            "Unless someone killed it, the machine ran out of memory."
        )
    return MediaError(f"ffmpeg failed while {doing}: {error_line(text) or f'exit status {code}'}")


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def error_line(text: str) -> str:
    """The line of ffmpeg's error output that names the error: its first that is not noise."""
    lines = [line.strip() for line in text.splitlines() if not _NOISE.match(line)]
    return _ADDRESS.sub("", lines[0])[:_LINE_CHARS] if lines else ""
