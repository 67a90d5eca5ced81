"""What a `longreel worker` reports to the process that started it, through a pipe of its own."""

from __future__ import annotations

import os

import msgspec

_LONGEST = 1 << 20
"""Bytes; more than a pipe holds."""
LONGEST_ERROR = 4000
"""Characters. A pipe holds 64 KiB, which nothing reads before the worker has ended: a longer report
would block the worker for ever."""


class WorkerReport(msgspec.Struct, frozen=True):
    """A JSON object on a line."""

    error: str
    """The sentence that explains why the worker ends."""


def send_report(fd: int, report: WorkerReport) -> None:
    """Writes a report to the pipe `fd`; of a very long error, only its beginning. Raises `OSError`
    if nothing reads there any more."""
    # An error may quote an argument that is not UTF-8; stderr shows that in the same way.
    error = report.error[:LONGEST_ERROR].encode(errors="backslashreplace").decode()
    os.write(fd, msgspec.json.encode(WorkerReport(error)) + b"\n")


def read_last_report(fd: int) -> WorkerReport | None:
    """The last report that the pipe `fd` holds, None if there is none; does not wait for one."""
    os.set_blocking(fd, False)
    try:
        lines = os.read(fd, _LONGEST).splitlines()
    except BlockingIOError:
        return None
    return msgspec.json.decode(lines[-1], type=WorkerReport) if lines else None
