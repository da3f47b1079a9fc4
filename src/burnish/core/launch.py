"""How this process was started: once, or as one of several ranks by torchrun, accelerate or srun.

Knows the launchers' environment variables. Imports nothing heavy: it is asked before anything else is.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import MutableMapping
from dataclasses import dataclass
from typing import Literal

from burnish.core.errors import UserError

Parallel = Literal["none", "executor", "ranks"]
SPEAKS_FIRST = 3.0
"""Seconds that the other ranks wait, so that the first has said what is wrong before its launcher ends them all."""


@dataclass(frozen=True)
class Launch:
    """One process of a job.

    Attributes:
        rank: its number among all, from 0.
        size: how many there are.
        by: the launcher, for messages.
    """

    rank: int = 0
    size: int = 1
    by: str = ""


def launched(environment: MutableMapping[str, str] = os.environ) -> Launch:
    """What the launcher says in the environment: torch's variables, or else those of a Slurm step.

    The variables of a step (``SLURM_STEP_NUM_TASKS``) are srun's; a batch script that runs by itself has only those of
    the whole job, whatever ``--ntasks`` asked for, and is one process.

    Raises:
        UserError: a variable holds no number.
    """
    if "WORLD_SIZE" in environment or "RANK" in environment:
        by = "torchrun" if "TORCHELASTIC_RUN_ID" in environment else "a launcher that sets RANK and WORLD_SIZE"
        by = "srun" if environment.get("BURNISH_LAUNCH") == "srun" else by
        return Launch(_number(environment, "RANK", 0), _number(environment, "WORLD_SIZE", 1), by)
    if "SLURM_STEP_NUM_TASKS" in environment and "SLURM_PROCID" in environment:
        size = _number(environment, "SLURM_STEP_NUM_TASKS", 1)
        return Launch(_number(environment, "SLURM_PROCID", 0), size, "srun")
    return Launch()


def join_slurm(environment: MutableMapping[str, str] = os.environ) -> None:
    """Give torch and accelerate the variables that they read, where srun alone started several tasks.

    Address: the first host of the step. Port: from the number of the job, between 20000 and 39999, so that two jobs on
    a host rarely meet. What is set already stays.

    Raises:
        UserError: a variable holds no number, or the list of hosts cannot be read.
    """
    start = launched(environment)
    if start.by != "srun" or start.size < 2 or "RANK" in environment:
        return
    hosts = environment.get("SLURM_STEP_NODELIST") or environment.get("SLURM_JOB_NODELIST", "")
    address = environment.get("MASTER_ADDR") or first_host(hosts)
    port = 20000 + _number(environment, "SLURM_JOB_ID", 0) % 20000
    own = {
        "RANK": str(start.rank),
        "WORLD_SIZE": str(start.size),
        "LOCAL_RANK": environment.get("SLURM_LOCALID", "0"),
        "MASTER_ADDR": address,
        "MASTER_PORT": environment.get("MASTER_PORT", str(port)),
        "BURNISH_LAUNCH": "srun",
    }
    environment.update(own)


def first_host(hosts: str) -> str:
    """The first of Slurm's compressed list of hosts: ``gpu[07-09,12],login1`` -> ``gpu07``.

    Raises:
        UserError: the list is empty.
    """
    match = re.match(r"([^,\[\s]+)(?:\[([^\]]*)\]([^,\[]*))?|\[([^\]]*)\]", hosts)
    if match is None or match[1] is None:
        raise UserError(f"SLURM_STEP_NODELIST: `{hosts}` names no host; set MASTER_ADDR to that of the first task")
    first = re.split(r"[-,]", match[2])[0] if match[2] else ""
    return f"{match[1]}{first}{match[3] or ''}"


def refuse_more_ranks(what: str, parallel: Parallel = "none") -> None:
    """Refuse to start as several ranks what cannot use them.

    The first rank says so; the others leave with the same status and without a word, a little later.

    Args:
        what: the method or the command, for the message.
        parallel: as the manifest says.

    Raises:
        UserError: on the first rank.
        SystemExit: on the others.
    """
    start = launched()
    if start.size < 2 or parallel == "ranks":
        return
    if start.rank > 0:
        time.sleep(SPEAKS_FIRST)
        raise SystemExit(UserError.exit_code)
    how = f" and set `workers` to {start.size} (or `executor: ray`)" if parallel == "executor" else ""
    raise UserError(f"{what}: runs in one process, and {start.by} started {start.size}; start it once{how}")


def _number(environment: MutableMapping[str, str], name: str, default: int) -> int:
    text = environment.get(name, str(default))
    try:
        return int(text)
    except ValueError:
        raise UserError(f"{name}: `{text}` in the environment is no number; unset it, or start by torchrun") from None
