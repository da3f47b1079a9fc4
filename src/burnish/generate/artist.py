"""A unified model as the steps need it: it writes plans, draws, looks, repaints and describes, many rows at once.

Prompt and plan are read once a picture and kept for every step of the drawing. Rows are independent: each has noise of
its own seed. Whether a plan is written before a picture is not left to the model: a picture is drawn after whatever was
written, so that a model that never asks for one draws all the same. Knows the engine, the script and plans.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from burnish.core.errors import BurnishError, UserError
from burnish.core.recipe import Settings
from burnish.core.streams import batched
from burnish.dialogue.drawing import draw as draw_tokens
from burnish.dialogue.drawing import uniform_noise
from burnish.generate.cache import Cache
from burnish.generate.codecs.face import from_bytes, to_bytes
from burnish.generate.drawing import Guidance, Keep, drawing
from burnish.generate.folder import Unified
from burnish.generate.interleaving import Choose, read_text, see, write
from burnish.generate.plan import Plan, PlanError, Wording
from burnish.generate.plan_grammar import PlanGrammar, PlanWriter
from burnish.generate.plan_text import parse
from burnish.generate.script import DESCRIBE, Script, padded
from burnish.generate.steps.state import Heat, Mask, Picture


class DrawSettings(Settings):
    """How pictures are drawn and plans are written."""

    steps: int = Field(default=20, ge=1, le=1000)
    """Of the Euler solver; the last goes straight to the model's picture."""
    shift: float = Field(default=6.0, gt=0)
    """Of the schedule towards noise, where the layout is decided; that of the training's noise levels."""
    guidance: float = Field(default=2.5, ge=0)
    """Weight of the prompt: 1 takes the model at its word, 0 draws without the prompt."""
    plan_guidance: float | None = Field(default=None, ge=0)
    """Weight of the plan beyond the prompt; none takes the prompt's."""
    renorm: bool = False
    """Whether a guided velocity may not be longer than the conditioned one."""
    temperature: float = Field(default=0.0, ge=0)
    """Of the plan's words; 0 takes the likeliest."""
    constrained: bool = True
    """Whether only such words may come as lead to a valid plan (needs llguidance)."""
    longest: int = Field(default=256, ge=1)
    """Tokens of a plan or an answer at most."""
    rows: int = Field(default=64, ge=1)
    """Pictures at once."""

    def as_guidance(self) -> Guidance:
        """For the engine."""
        return Guidance(self.guidance, self.plan_guidance, self.renorm)


class ModelArtist:
    """See the module, and :class:`burnish.generate.steps.state.Artist`.

    Args:
        unified: model, codec and tokenizer.
        settings: how to draw.
        watch: is called with the step's number and how many there are while pictures are drawn.

    Raises:
        UserError: a model without a tokenizer; plans are to be constrained and llguidance is missing.
    """

    def __init__(
        self, unified: Unified, settings: DrawSettings | None = None, watch: Callable[[int, int], None] | None = None
    ) -> None:
        if unified.tokenizer is None:
            raise UserError("model: its folder holds no tokenizer (tokenizer.json), so it cannot read a prompt")
        self.settings = settings or DrawSettings()
        self._model, self._codec = unified.model, unified.codec
        self._watch = watch or (lambda _number, _steps: None)
        self.script = Script(unified.tokenizer, wording_of(unified))
        self._filler = self.script.stop
        self._grammar = (
            PlanGrammar(self.wording, unified.tokenizer, self._model.config.text_config().vocab_size)
            if self.settings.constrained
            else None
        )

    @property
    def wording(self) -> Wording:
        """How the model writes plans."""
        return self.script.wording

    @property
    def patches(self) -> tuple[int, int]:
        """Rows and columns of a picture's patches."""
        return self._codec.grid

    def write_plans(self, prompts: Sequence[str], seeds: Sequence[int]) -> list[str]:
        """See ``Artist``."""
        found: list[str] = []
        for part in batched(range(len(prompts)), self.settings.rows):
            cache = self._read([self.script.prompt(prompts[row]) for row in part], None)
            found += self._write_plans(cache, [seeds[row] for row in part])
        return found

    def _write_plans(self, cache: Cache, seeds: Sequence[int]) -> list[str]:
        start = self._tokens([self.script.plan_start] * len(seeds))[0]
        choose = self._chooser(seeds)
        written = write(self._model, cache, start, self.script.stop, self.settings.longest, choose)
        return [self.script.text(row) for row in written.tokens]

    def draw(self, prompts: Sequence[str], plans: Sequence[Plan | None], seeds: Sequence[int]) -> list[Picture]:
        """See ``Artist``."""
        found: dict[int, Picture] = {}
        for part in self._alike(plans):
            cache = self._conditions([prompts[row] for row in part], [plans[row] for row in part])
            drawn = self._draw(cache, plans[part[0]] is not None, [seeds[row] for row in part], None)
            found |= dict(zip(part, drawn, strict=True))
        return [found[row] for row in range(len(prompts))]

    def look(self, prompts: Sequence[str], plans: Sequence[Plan | None], pictures: Sequence[Picture]) -> list[Heat]:
        """See ``Artist``."""
        found: dict[int, Heat] = {}
        for part in self._alike(plans):
            cache = self._conditions([prompts[row] for row in part], [plans[row] for row in part])
            heat = see(self._model, cache, self._encode([pictures[row] for row in part])).outputs.heat[:, -1]
            chances = heat.float().sigmoid().reshape(-1, *self.patches).cpu().numpy()
            found |= dict(zip(part, chances, strict=True))
        return [found[row] for row in range(len(prompts))]

    def repaint(
        self,
        prompts: Sequence[str],
        plans: Sequence[Plan | None],
        pictures: Sequence[Picture],
        masks: Sequence[Mask],
        seeds: Sequence[int],
    ) -> list[Picture]:
        """See ``Artist``."""
        found: dict[int, Picture] = {}
        for part in self._alike(plans):
            cache = self._conditions([prompts[row] for row in part], [plans[row] for row in part])
            patches = self._encode([pictures[row] for row in part])
            free = torch.from_numpy(np.stack([masks[row] for row in part])).flatten(1).to(patches.device)
            cache = see(self._model, cache, patches, masked=free)
            drawn = self._draw(cache, plans[part[0]] is not None, [seeds[row] for row in part], Keep(patches, free))
            found |= dict(zip(part, drawn, strict=True))
        return [self._kept(pictures[row], found[row], masks[row]) for row in range(len(prompts))]

    def describe(self, pictures: Sequence[Picture], questions: Sequence[str] | str = DESCRIBE) -> list[str]:
        """What the model says of pictures, to one question or to one each.

        Raises:
            UserError: a question in words that the model does not have, or a picture of another size.
        """
        asked = [questions] * len(pictures) if isinstance(questions, str) else list(questions)
        found: list[str] = []
        for part in batched(range(len(pictures)), self.settings.rows):
            cache = see(self._model, None, self._encode([pictures[row] for row in part]))
            start, real = self._tokens([self.script.question(asked[row]) for row in part])
            written = write(self._model, cache, start, self.script.stop, self.settings.longest, real=real)
            found += [self.script.text(row) for row in written.tokens]
        return found

    def read_plans(self, pictures: Sequence[Picture]) -> list[Plan | None]:
        """What the model sees in pictures, as plans; none where what it wrote is none.

        Raises:
            UserError: a picture of another size.
        """
        texts: list[str] = []
        for part in batched(range(len(pictures)), self.settings.rows):
            cache = see(self._model, None, self._encode([pictures[row] for row in part]))
            texts += self._write_plans(cache, [0] * len(part))
        found: list[Plan | None] = []
        for text in texts:
            try:
                found.append(parse(text, self.wording))
            except PlanError:
                found.append(None)
        return found

    def _conditions(self, prompts: Sequence[str], plans: Sequence[Plan | None]) -> Cache:
        """Prompts and, where there are any, plans: all rows have one or none has."""
        cache = self._read([self.script.prompt(prompt) for prompt in prompts], None)
        known = [self.script.plan(plan) for plan in plans if plan is not None]
        return self._read(known, cache) if known else cache

    def _read(self, rows: Sequence[Sequence[int]], cache: Cache | None) -> Cache:
        return read_text(self._model, cache, *self._tokens(rows))

    def _tokens(self, rows: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor | None]:
        tokens, real = padded(rows, self._filler)
        device = self._model.device
        return tokens.to(device), None if real is None else real.to(device)

    def _encode(self, pictures: Sequence[Picture]) -> Float[Tensor, "batch patches dim"]:
        sizes = {picture.shape for picture in pictures} - {(*self._codec.size, 3)}
        if sizes:
            height, width = self._codec.size
            raise UserError(f"picture: has shape {sizes.pop()}; this model takes {height} x {width} pixels of 3 bytes")
        return self._codec.encode(from_bytes(np.stack(list(pictures))).to(self._model.device))

    def _draw(self, cache: Cache, planned: bool, seeds: Sequence[int], keep: Keep | None) -> Iterator[Picture]:
        shape = (self._model.config.patches, self._model.config.patch_dim)
        noise = torch.stack([torch.randn(shape, generator=torch.Generator().manual_seed(seed)) for seed in seeds])
        steps = drawing(
            self._model,
            cache,
            noise.to(self._model.device),
            steps=self.settings.steps,
            shift=self.settings.shift,
            guidance=self.settings.as_guidance(),
            prompt=(0,),
            plan=(1,) if planned else (),
            keep=keep,
        )
        for step in steps:
            self._watch(step.number, self.settings.steps)
        with torch.no_grad():
            pictures = self._codec.decode(step.noisy)
        if not bool(pictures.isfinite().all()):
            raise BurnishError("picture: the model drew numbers that are not finite; its weights are damaged")
        return iter(to_bytes(pictures))

    def _kept(self, before: Picture, after: Picture, mask: Mask) -> Picture:
        """The new picture in the mask, the old one outside, byte by byte: a codec's own errors change nothing there."""
        height, width = (side // patches for side, patches in zip(before.shape, mask.shape, strict=False))
        inside = np.kron(mask, np.ones((height, width), dtype=bool))[..., None]
        return np.where(inside, after, before)

    def _alike(self, plans: Sequence[Plan | None]) -> Iterator[list[int]]:
        """Rows that go together: with a plan or without, and no more at once than the settings say."""
        for planned in (True, False):
            rows = [row for row, plan in enumerate(plans) if (plan is not None) == planned]
            yield from batched(rows, self.settings.rows)

    def _chooser(self, seeds: Sequence[int]) -> Choose:
        """Tokens of plans: each row has noise and, where plans are constrained, a grammar of its own."""
        settings = self.settings
        noise = uniform_noise(seeds, settings.longest, settings.temperature)
        writers = None if self._grammar is None else [self._grammar.start() for _ in seeds]

        def choose(logits: Float[Tensor, "batch vocab"], written: list[list[int]]) -> Tensor:
            now = max(map(len, written))
            if writers is not None:
                masks = [_allowed(writer, row, self.script.stop) for writer, row in zip(writers, written, strict=True)]
                logits = logits.masked_fill(~torch.from_numpy(np.stack(masks)).to(logits.device), -torch.inf)
            tokens, _ = draw_tokens(logits.float(), noise[:, now].to(logits.device), temperature=settings.temperature)
            return tokens

        return choose


def _allowed(writer: PlanWriter, written: list[int], stop: int) -> np.ndarray:
    """The tokens that may come after what a row wrote; after the plan's end, and in a row that is done, the stop."""
    if not writer.done and len(written) > writer.taken:
        writer.take(written[-1])
    allowed = writer.allowed()
    if writer.done:
        allowed[stop] = True
    return allowed


def wording_of(unified: Unified) -> Wording:
    """How a model writes plans, as its configuration says (``wording``); the default where it does not."""
    return Wording.model_validate(getattr(unified.model.config, "wording", None) or {})


def set_wording(unified: Unified, wording: Wording) -> None:
    """Keep in a model's configuration how it writes plans; saved with it."""
    unified.model.config.wording = wording.model_dump(mode="json")
