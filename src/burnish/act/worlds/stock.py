"""What a goal asks for against what is there: the same sum in every world with items."""

from __future__ import annotations

from collections.abc import Mapping


def missing(asked: Mapping[str, int], stock: Mapping[str, int]) -> dict[str, int]:
    """Of each item how many are lacking; items that are all there are left out."""
    return {item: count - stock.get(item, 0) for item, count in asked.items() if stock.get(item, 0) < count}
