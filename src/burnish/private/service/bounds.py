"""A bound on what reading a stranger's bytes may take: a few kilobytes, unpacked, can claim gigabytes.

SEAL unpacks a compressed stream whole before it looks at it. Short of memory it neither stops nor says so, but goes
on for ever: so there is a bound of CPU time as well, and who passes that is ended by the system.
"""

from __future__ import annotations

import contextlib
import resource
import signal
from collections.abc import Iterator
from pathlib import Path

from burnish.core.errors import UserError

ROOM = 1 << 28
"""Bytes beyond what sound data take: the allocator's own, and what the interpreter happens to need."""
SECONDS, SPEED = 10.0, 1e8
"""CPU seconds that are allowed, and bytes a second beyond them; sound keys come four times as fast."""


@contextlib.contextmanager
def bounded(most: int, what: str) -> Iterator[None]:
    """Inside, this process can get so many bytes more than it has, and `ROOM`; a request beyond fails, and is refused
    as data that are none. Who takes more CPU time than `SECONDS` and `SPEED` give ends the process. For the main thread
    of a process that does nothing else meanwhile. Where the system does not tell what a process has (no /proc), memory
    is not bounded.

    Args:
        most: bytes that sound data take at their largest moment.
        what: is read, for the message.

    Raises:
        UserError: they take more.
    """
    before = soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    with contextlib.suppress(OSError):
        pages = int(Path("/proc/self/statm").read_text("ascii").split()[0])
        within = [limit for limit in before if limit != resource.RLIM_INFINITY]
        soft = min([pages * resource.getpagesize() + most + ROOM, *within])
    signal.setitimer(signal.ITIMER_PROF, SECONDS + most / SPEED)  # what nobody handles ends the process
    resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
    try:
        yield
    except MemoryError:
        raise UserError(f"{what}: take more memory than sound ones of these parameters; damaged") from None
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)
        signal.setitimer(signal.ITIMER_PROF, 0)
