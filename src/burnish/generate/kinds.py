"""The kinds of tokens; a module that imports nothing heavy, for recipes."""

from __future__ import annotations

from typing import Literal, get_args

Kind = Literal["text", "clean", "noisy"]
"""What a token is: text; a patch of a picture that is looked at; a patch of a picture that is being drawn."""

KINDS: tuple[Kind, ...] = get_args(Kind)
