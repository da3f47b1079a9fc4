"""What a user may set about a server with OpenAI's interface. Knows pydantic only."""

from __future__ import annotations

from pydantic import Field

from burnish.core.recipe import Settings


class EndpointSettings(Settings):
    """A server with OpenAI's interface; where pictures are shown, one that takes images."""

    url: str
    """Its address, up to `/v1`."""
    model: str
    """The model's name there."""
    key: str = "OPENAI_API_KEY"
    """The environment variable that holds the key; a server without keys needs none."""
    parallel: int = Field(default=16, ge=1)
    """Requests at a time."""
