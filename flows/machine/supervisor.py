"""Several processes on one machine, started again when one dies: workers, the service."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence

LOOK_SECONDS = 0.2
FIRST_PAUSE_SECONDS = 1.0
"""Pause before a worker that died is started again; twice as long each time."""
LONGEST_PAUSE_SECONDS = 60.0
"""One that lived for as long begins with the first pause again."""
CLOSING_SECONDS = 60.0
"""How long workers may take to give back what they hold before they are killed."""


class Child:
    """A command that is kept running."""

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        environment: Mapping[str, str],
        kind: str = "worker",
    ) -> None:
        """`kind` and `name` say what it is in messages: `The worker gpu-0 died`."""
        self.name, self._kind = name, kind
        self._command = list(command)
        self._environment = {**os.environ, **environment}
        self._pause = FIRST_PAUSE_SECONDS
        self._start_at: float | None = time.monotonic()
        self._started = 0.0
        self._process: subprocess.Popen[bytes] | None = None
        self._has_died = False
        self.code: int | None = None
        """Its exit code once it has ended for good."""

    def look(
        self,
        final: Collection[int],
        tell: Callable[[str], None],
        final_at_first: Collection[int] = (),
    ) -> None:
        """Starts it when it is due. A process that ends with a code outside `final` is started
        again; one of `final_at_first` ends it for good if none of its processes died before."""
        now = time.monotonic()
        if self._process is None and self._start_at is not None and now >= self._start_at:
            self._start(now)
        code = self._process.poll() if self._process else None
        if code is None:
            return
        self._close_input()
        self._process, self._start_at = None, None
        if code in final or (code in final_at_first and not self._has_died):
            self.code = code
            return
        self._has_died = True
        if now - self._started > LONGEST_PAUSE_SECONDS:
            self._pause = FIRST_PAUSE_SECONDS
        self._start_at = now + self._pause
        tell(
            f"The {self._kind} {self.name} died ({_how(code)}); started again in {self._pause:g} s."
        )
        self._pause = min(2 * self._pause, LONGEST_PAUSE_SECONDS)

    def stop(self) -> None:
        """Asks it to give back what it has and end."""
        self._start_at = None
        if self._process and self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)

    def wait(self, until: float) -> None:
        """Until it has ended; kills it at `until`, by `time.monotonic`."""
        if self._process is None:
            return
        try:
            self.code = self._process.wait(max(until - time.monotonic(), 0.1))
        except subprocess.TimeoutExpired:
            self._process.kill()
            self.code = self._process.wait()
        self._close_input()

    def _close_input(self) -> None:
        """Closes our end of the standard input of a process that has ended."""
        if self._process and self._process.stdin:
            self._process.stdin.close()

    def _start(self, now: float) -> None:
        # A session of its own: Ctrl-C reaches it through us, once. Its standard input is how it
        # notices that we died (`Parent`).
        self._process = subprocess.Popen(
            self._command, env=self._environment, stdin=subprocess.PIPE, start_new_session=True
        )
        self._started = now


def supervise(
    children: Sequence[Child],
    final: Collection[int],
    tell: Callable[[str], None],
    check: Callable[[], None] = lambda: None,
    final_at_first: Collection[int] = (),
) -> int:
    """Keeps the children running until each ended with a final code (`Child.look`); the highest of
    those.

    However this ends, none of them is left. `check` is called at every look and may raise.
    """
    try:
        while any(child.code is None for child in children):
            for child in children:
                child.look(final, tell, final_at_first)
            check()
            time.sleep(LOOK_SECONDS)
    finally:
        for child in children:
            child.stop()
        until = time.monotonic() + CLOSING_SECONDS
        for child in children:
            child.wait(until)
    return max(child.code or 0 for child in children)


class Parent:
    """The process that started this one, and holds the other end of its standard input."""

    def __init__(self) -> None:
        self.gone = threading.Event()
        """Set when it is seen to be gone."""

    def end_with(self, stopping: threading.Event) -> None:
        """Makes this process end with it, as by SIGTERM, unless it is `stopping` already."""

        def wait() -> None:
            # Not through sys.stdin: at exit, Python aborts because of a thread that holds its lock.
            while os.read(0, 1024):
                pass
            self.gone.set()
            if not stopping.is_set():  # a second signal would end it at once
                os.kill(os.getpid(), signal.SIGTERM)

        threading.Thread(target=wait, name="parent", daemon=True).start()


def _how(code: int) -> str:
    return f"signal {-code}" if code < 0 else f"exit code {code}"
