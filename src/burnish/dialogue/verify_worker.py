"""The process of math-verify: one JSON line in, one out. Started and killed by :mod:`burnish.dialogue.verify`.

Knows math-verify and how answers are read as LaTeX. An expression that a model wrote may take sympy for ever or hold
the interpreter lock; only a process can be stopped then.
"""

from __future__ import annotations

import faulthandler
import json
import logging
import os
import sys
from typing import Any

from burnish.dialogue.answers import as_latex, boxed

MEMORY = 4 << 30  # bytes of address space: a tower of powers must not take the machine with it

ROUNDED = 0.01
"""By which the sides of an equation between numbers may differ, as a share of the larger: 2/3 = 0.67 is one."""
NOTHING = 1e-9
"""By which they may differ at any size: floats leave 5e-17 of 0.1 + 0.2 - 0.3 = 0."""


def judge(text: str, gold: str) -> bool:
    """Whether math-verify finds the expression of ``gold`` in ``text``; what it cannot read is wrong."""
    from math_verify import verify

    try:
        target = _read(gold)
        found = _read(text) if target else []
        if any(_untrue(each) for each in found):
            return False
        return bool(found) and bool(verify(target, found, timeout_seconds=None))
    except Exception:  # noqa: BLE001 - sympy raises anything on what a model may write, and none of it is right
        return False


def _read(text: str) -> list[Any]:
    """What is written: as LaTeX where it is one expression, otherwise what a search finds.

    Searched first, as math-verify does by itself, ``\\sqrt{8}`` without dollars would be 8.
    """
    from math_verify import LatexExtractionConfig, parse

    # No limit of its own: it works by signals, and whoever waits for this process has a clock.
    latex = as_latex(text)
    if latex is not None:
        found = parse(f"${latex}$", [LatexExtractionConfig()], parsing_timeout=None)
        if any(not isinstance(each, str) for each in found):
            return list(found)
    box = boxed(text)
    searched = text if box is None else rf"\boxed{{{box}}}"
    return list(parse(searched, parsing_timeout=None) or parse(f"${searched}$", parsing_timeout=None))


def _untrue(found: Any) -> bool:
    """Whether it equates two numbers that differ by more than rounding ("4 = 5"), of which a side would be taken."""
    import sympy

    for each in found.atoms(sympy.Equality) if isinstance(found, sympy.Basic) else ():
        # "f(2)" has no free symbol, and no value either
        sides = [complex(side.doit().evalf()) for side in each.args if isinstance(side, sympy.Expr) and side.is_number]
        if len(sides) == 2 and abs(sides[0] - sides[1]) > max(ROUNDED * max(map(abs, sides)), NOTHING):
            return True
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
