"""Quiet hours: local times of the day in which a worker claims nothing."""

from __future__ import annotations

import re
from datetime import time

from film.errors import InputError
from film.types import Struct

_FORM = re.compile(r"(\d{1,2}):(\d\d)-(\d{1,2}):(\d\d)")


class QuietHours(Struct, frozen=True, kw_only=True):
    """From `begins` until `ends`, which may be on the next day."""

    begins: time
    ends: time

    def __str__(self) -> str:
        return f"{self.begins:%H:%M}-{self.ends:%H:%M}"

    def hold(self, moment: time) -> bool:
        """True if `moment` (local time of day) is quiet; `ends` itself is not."""
        if self.begins < self.ends:
            return self.begins <= moment < self.ends
        return moment >= self.begins or moment < self.ends


def parse_quiet(text: str) -> QuietHours:
    """The hours that `22:00-07:00` names. Raises `InputError` on anything else."""
    found = _FORM.fullmatch(text.strip())
    try:
        if found is None:
            raise ValueError
        hours = [int(part) for part in found.groups()]
        quiet = QuietHours(begins=time(hours[0], hours[1]), ends=time(hours[2], hours[3]))
        if quiet.begins == quiet.ends:
            raise ValueError
    except ValueError:
        raise InputError(
            f"{text!r} names no quiet hours; give two different times such as 22:00-07:00."
        ) from None
    return quiet
