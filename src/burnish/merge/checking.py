"""What `burnish check` says of a merge, or of a file of several. Starts and writes nothing."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from burnish.core.recipe import Overrides
from burnish.merge import plan
from burnish.merge.documents import chain


def rows_of(config: str | Path | Mapping[str, Any], out: Path, overrides: Overrides = ()) -> list[dict[str, Any]]:
    """The plan as rows of `what` and `value`; of several merges each, under its folder's name.

    A merge that builds on another can be planned when that one is there: until then the row says what it needs.

    Args:
        config: as :func:`burnish.merge.merge` takes it.
        out: the folder that the result would have.
        overrides: as :func:`burnish.merge.plan` takes them.

    Raises:
        UserError: anything that would stop it.
    """
    links = chain(config, out, None, overrides)
    if len(links) == 1:
        return plan(links[0].config).rows()
    rows = [{"what": "merges", "value": " -> ".join(link.out.name for link in links)}]
    for link in links:
        name = link.out.name
        missing = [need.name for need in link.needs if not (need / "config.json").is_file()]
        if missing:
            waits = f"builds on {', '.join(missing)}: planned once that is made"
            rows.append({"what": name, "value": waits})
            continue
        rows += [{"what": f"{name}: {row['what']}", "value": row["value"]} for row in plan(link.config).rows()]
    return rows
