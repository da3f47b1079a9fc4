"""A local web page that shows a run as it happens, and lets a person say and stop something.

The page's server is a process of its own: it reads the team's memory and the run's map, and writes into the memory what
a person says or stops; the run hears that (``Runtime._hear``). It serves three files and a picture by fixed names,
nothing by path.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from burnish.act.replay import run_recipe
from burnish.core.packages import Need, not_installed


def watch(run: Path, host: str = "127.0.0.1", port: int = 8322, token: str | None = None) -> None:
    """Serve the page of a run until stopped; ``burnish act watch``.

    Raises:
        UserError: it is no run of agents, or the address cannot be had (see :func:`burnish.core.serving.listen`).
    """
    from burnish.core.serving import address, listen, serve

    app = watch_app(run)
    with listen(host, port, token) as bound:
        print(f"{run} is shown at {address(bound)} (stop with Ctrl-C)", flush=True)
        serve(app, bound, token)


def watch_app(run: Path) -> Any:
    """The page as an ASGI application.

    Raises:
        UserError: it is no run of agents, the run has not begun, or the packages are missing.
    """
    try:
        from fastapi import FastAPI
        from starlette.routing import BaseRoute

        from burnish.act.watch.handlers import Handlers
    except ImportError:
        raise not_installed("act: the live page", Need(("fastapi", "uvicorn"), "act")) from None
    routes = list[BaseRoute](Handlers(run_recipe(run), run).routes())
    return FastAPI(title="Burnish: a run", routes=routes, docs_url=None, redoc_url=None, openapi_url=None)
