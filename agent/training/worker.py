"""The process that trains, by the extra ``training``: ``python -m agent.training.worker``.

It is told what to do by the first line of its standard input, which stays open for as long as it is to
run, and tells how it gets on by lines on its standard output. All else goes to standard error.
"""

from __future__ import annotations

import os
import sys
import threading
from typing import IO

import msgspec

from agent.training.told import Ended, Failed, Told, Work, write

_BROKEN, _LEFT_ALONE = 1, 2


def main() -> int:
    """Do what the first line of standard input says; returns the exit status."""
    answers = _standard_output()
    work = msgspec.json.decode(sys.stdin.buffer.readline(), type=Work)
    threading.Thread(target=_end_with_input, daemon=True).start()

    def tell(told: Told) -> None:
        answers.write(write(told) + b"\n")

    # Imported only now: this alone takes many seconds.
    from agent.training.tuning import Hopeless, tune

    try:
        tune(work, tell)
    except Hopeless as exc:
        tell(Failed(str(exc)))
        return _BROKEN
    tell(Ended())
    return 0


def _standard_output() -> IO[bytes]:
    """Return standard output, which from now on is standard error for everybody else."""
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb", buffering=0)
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    return answers


def _end_with_input() -> None:
    """End the process when whoever started it is gone; nothing that is under way is waited for."""
    # Not by ``sys.stdin``, whose lock would be held when the interpreter ends by itself.
    while os.read(sys.stdin.fileno(), 1024):
        pass
    os._exit(_LEFT_ALONE)


if __name__ == "__main__":
    sys.exit(main())
