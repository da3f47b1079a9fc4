"""Pictures from a prefix that was read once: Euler steps, guidance in one batch, regions that stay.

Knows the cache, the flow and the codecs' face. The stepping is one line (``flow.euler``), tested against diffusers'
scheduler: importing diffusers takes longer than drawing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from burnish.core.errors import UserError
from burnish.generate.cache import Cache, denoise, easel
from burnish.generate.codecs.face import Codec
from burnish.generate.flow import euler, guided, schedule
from burnish.generate.model import UnifiedModel


@dataclass(frozen=True)
class Guidance:
    """How much a condition counts: v = v_0 + prompt (v_prompt - v_0) + plan (v_all - v_prompt).

    Attributes:
        prompt: weight of the prompt: 1 takes the model at its word, 0 draws without any condition.
        plan: weight of the plan beyond the prompt; none takes the prompt's.
        renorm: the guided velocity is never longer than the conditioned one.
    """

    prompt: float = 1.0
    plan: float | None = None
    renorm: bool = False

    def branches(self, prompt: Sequence[int], plan: Sequence[int] = ()) -> list[tuple[frozenset[int], float]]:
        """What each branch must not see, and its weight; branches that count nothing are left out.

        Args:
            prompt, plan: places of their segments in the cache's layout.
        """
        if not plan:
            found = [(frozenset[int](), self.prompt), (frozenset(prompt), 1 - self.prompt)]
        else:
            weight = self.prompt if self.plan is None else self.plan
            found = [
                (frozenset[int](), weight),
                (frozenset(plan), self.prompt - weight),
                (frozenset(prompt) | frozenset(plan), 1 - self.prompt),
            ]
        return [(hidden, weight) for hidden, weight in found if weight]


@dataclass(frozen=True)
class Keep:
    """A picture of which only a part is drawn anew.

    Attributes:
        picture: patches, in the codec's units.
        free: true where a patch is drawn anew; the rest comes out exactly as it is.
    """

    picture: Float[Tensor, "batch patches dim"]
    free: Bool[Tensor, "batch patches"]


@dataclass(frozen=True)
class Step:
    """One step of a drawing.

    Attributes:
        number: from 1.
        time: after it; 1 at the end.
        noisy: the picture at that time; at the end the picture itself.
        estimate: the picture that the model sees in it.
    """

    number: int
    time: float
    noisy: Float[Tensor, "batch patches dim"]
    estimate: Float[Tensor, "batch patches dim"]


def drawing(
    model: UnifiedModel,
    cache: Cache,
    noise: Float[Tensor, "batch patches dim"],
    *,
    steps: int = 20,
    shift: float = 6.0,
    guidance: Guidance | None = None,
    prompt: Sequence[int] = (0,),
    plan: Sequence[int] = (),
    image: int | None = None,
    keep: Keep | None = None,
) -> Iterator[Step]:
    """Draw one picture a row, step by step.

    Args:
        model: that read the cache.
        cache: what the picture is drawn from.
        noise: standard normal; the same noise gives the same picture.
        steps: of the Euler solver; the last goes straight to the model's estimate.
        shift: of the schedule, towards noise.
        guidance: none takes weight 1, one branch.
        prompt, plan: places of these segments in the cache's layout: what guidance drops.
        image: the picture's number; none takes a new one.
        keep: inpaint: only free patches are drawn.

    Raises:
        UserError: no steps, a wrong shift, or noise of another shape than the model's pictures.
    """
    shape = (cache.rows, model.config.patches, model.config.patch_dim)
    if tuple(noise.shape) != shape:
        raise UserError(f"noise: has shape {tuple(noise.shape)}; this model draws {shape} (rows, patches, numbers)")
    times = schedule(steps, shift)
    branches = (guidance or Guidance()).branches(prompt, plan)
    segments = len(cache.layout.segments)
    unseen_by = torch.tensor([[place in unseen for place in range(segments)] for unseen, _ in branches])
    hidden = unseen_by.to(noise.device).expand(cache.rows, -1, -1) if unseen_by.any() else None
    number = cache.next_image() if image is None else image
    place = easel(model, cache, len(branches), number, hidden)
    noisy = noise
    with torch.no_grad():
        for step, (now, then) in enumerate(pairwise(times), 1):
            copies = noisy[:, None].expand(-1, len(branches), -1, -1)
            said = denoise(model, place, copies, torch.full_like(copies[..., 0, 0], now))
            speeds = (said - copies) / (1 - now)
            weights = [weight for _, weight in branches]
            renorm = guidance is not None and guidance.renorm
            single = len(branches) == 1
            estimate = said[:, 0] if single else noisy + (1 - now) * guided(speeds, weights, renorm)
            noisy = euler(noisy, estimate, now, then)
            if keep is not None:
                noisy = torch.where(keep.free[..., None], noisy, then * keep.picture + (1 - then) * noise)
            yield Step(step, then, noisy, estimate)


def draw(
    model: UnifiedModel, codec: Codec, cache: Cache, noise: Float[Tensor, "batch patches dim"], **settings: object
) -> Float[Tensor, "batch channels height width"]:
    """The finished pictures in -1..1; settings are those of :func:`drawing`."""
    *_, last = drawing(model, cache, noise, **settings)  # type: ignore[arg-type]
    return codec.decode(last.noisy)
