"""The process of math-verify: one JSON line in, one out. Started and killed by :mod:`burnish.dialogue.verify`.

Knows math-verify and nothing of Burnish. An expression that a model wrote may take sympy for ever or hold the
interpreter lock; only a process can be stopped then.
"""

from __future__ import annotations

import faulthandler
import json
import logging
import os
import sys

MEMORY = 4 << 30  # bytes of address space: a tower of powers must not take the machine with it


def judge(text: str, gold: str) -> bool:
    """Whether math-verify finds the expression of ``gold`` in ``text``; what it cannot read is wrong."""
    from math_verify import parse, verify

    try:
        # No limit of its own: it works by signals, and whoever waits for this process has a clock.
        target = parse(gold, parsing_timeout=None) or parse(f"${gold}$", parsing_timeout=None)
        if not target:
            return False
        found = parse(text, parsing_timeout=None) or parse(f"${text}$", parsing_timeout=None)
        return bool(found) and bool(verify(target, found, timeout_seconds=None))
    except Exception:  # noqa: BLE001 - sympy raises anything on what a model may write, and none of it is right
        return False


def main() -> None:
    """Answer until standard input ends, or one item takes much longer than its limit and nobody kills us."""
    try:
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, resource.getrlimit(resource.RLIMIT_AS)[1]))
    except (ImportError, ValueError, OSError):
        pass  # no such limits on this platform; the clock still holds
    import math_verify  # noqa: F401 - before `ready`: importing it is no part of any item's time

    logging.disable(logging.CRITICAL)
    limit = float(sys.argv[1])
    # What sympy or a plug-in prints must not be read as a verdict.
    answers, sys.stdout = sys.stdout, sys.stderr
    print("ready", file=answers, flush=True)
    with open(os.devnull, "w") as nowhere:
        for line in sys.stdin:
            text, gold = json.loads(line)
            # A thread of C, not of Python: it fires even while a huge power holds the interpreter lock.
            faulthandler.dump_traceback_later(3 * limit + 1, exit=True, file=nowhere)
            verdict = judge(text, gold)
            faulthandler.cancel_dump_traceback_later()
            print("right" if verdict else "wrong", file=answers, flush=True)


if __name__ == "__main__":
    main()
