"""A prefix read once gives what reading all of it gives; drawing ends at the estimate; text and pictures in turn."""

from dataclasses import replace
from itertools import pairwise

import pytest
import torch

from burnish.core.errors import UserError
from burnish.generate.cache import Cache, denoise, easel, extend
from burnish.generate.drawing import Guidance, Keep, draw, drawing
from burnish.generate.flow import schedule
from burnish.generate.interleaving import read_text, see, write
from burnish.generate.model import UnifiedModel
from burnish.generate.records import Batch, Layout, Segment
from tests.generate.small import CODEC, WORDS, different_experts, layout, random_batch, small_model


@pytest.fixture(scope="module")
def model() -> UnifiedModel:
    return different_experts(small_model("mint")).double()


def tokens(*shape: int, seed: int = 2) -> torch.Tensor:
    return torch.randint(0, WORDS, shape, generator=torch.Generator().manual_seed(seed))


def noise(rows: int, seed: int = 3) -> torch.Tensor:
    return torch.randn(rows, 4, 12, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def close(one: torch.Tensor, other: torch.Tensor) -> None:
    torch.testing.assert_close(one, other, atol=1e-12, rtol=1e-9)


def test_text_picture_text_in_three_passes_is_one_pass(model: UnifiedModel) -> None:
    """The notes' example: the last two tokens over cached keys of blocks T2 C. With padding in the first text."""
    known = layout(("text", 2), ("clean", 4, 0), ("text", 2))
    real = torch.tensor([[True] * 4, [False, True, True, True]])
    batch = random_batch(known, 2, torch.float64, real=real)
    whole = model(batch)
    cache = read_text(model, None, batch.tokens[:, :2], real[:, :2])
    close(cache.outputs.text_logits[real[:, :2]], whole.text_logits[:, :2][real[:, :2]])
    cache = see(model, cache, batch.clean[:, 0])
    close(cache.outputs.heat, whole.heat)
    cache = read_text(model, cache, batch.tokens[:, 2:])
    close(cache.outputs.text_logits, whole.text_logits[:, 2:])
    assert cache.layout == known


def test_written_token_by_token_is_one_segment_and_the_same(model: UnifiedModel) -> None:
    text = tokens(2, 5)
    cache = read_text(model, None, text[:, :3])
    for place in (3, 4):
        cache = read_text(model, cache, text[:, place : place + 1], join=True)
    assert cache.layout == layout(("text", 5))
    close(cache.outputs.text_logits[:, -1], model(random_text(text)).text_logits[:, -1])


def random_text(text: torch.Tensor) -> Batch:
    return replace(random_batch(Layout((Segment("text", text.shape[1]),)), len(text), torch.float64), tokens=text)


def test_denoising_after_a_cache_is_the_training_pass(model: UnifiedModel) -> None:
    """Branches of guidance are the several noisy blocks of training, each with what it must not see."""
    known = layout(("text", 3), ("text", 2), ("noisy", 4, 0), ("noisy", 4, 0), ("noisy", 4, 0))
    hidden = torch.zeros(2, 3, 5, dtype=torch.bool)
    hidden[:, 1, 1] = True
    hidden[:, 2, :2] = True
    real = torch.tensor([[True] * 5, [False, True, True, True, True]])
    batch = random_batch(known, 2, torch.float64, hidden=hidden, real=real)
    cache = read_text(model, None, batch.tokens[:, :3], real[:, :3])
    cache = read_text(model, cache, batch.tokens[:, 3:])
    place = easel(model, cache, 3, 0, hidden[:, :, :2])
    said = denoise(model, place, batch.noisy, batch.times)
    close(said, model(batch).estimates)
    assert not torch.allclose(said[:, 0], said[:, 1])


def by_hand(model: UnifiedModel, text: torch.Tensor, start: torch.Tensor, steps: int) -> torch.Tensor:
    """Drawing that reads prompt and plan again at every step."""
    times, state = schedule(steps, 6.0), start
    known = Layout((Segment("text", text.shape[1]), Segment("noisy", 4, 0)))
    for now, then in pairwise(times):
        when = torch.full((len(text), 1), now, dtype=torch.float64)
        batch = Batch(known, text, start[:, :0, None].reshape(len(text), 0, 4, 12), state[:, None], when)
        with torch.no_grad():
            estimate = model(batch).estimates[:, 0]
        state = state + (then - now) * (estimate - state) / (1 - now)
    return state


def test_drawing_is_reading_everything_at_every_step(model: UnifiedModel) -> None:
    text, start = tokens(2, 5), noise(2)
    *_, last = drawing(model, read_text(model, None, text), start, steps=5)
    close(last.noisy, by_hand(model, text, start, 5))


def test_the_last_step_jumps_to_the_estimate(model: UnifiedModel) -> None:
    for guidance in (None, Guidance(2.5), Guidance(2.5, renorm=True)):
        steps = list(drawing(model, read_text(model, None, tokens(1, 3)), noise(1), steps=3, guidance=guidance))
        assert [step.number for step in steps] == [1, 2, 3]
        assert steps[-1].time == 1
        assert torch.equal(steps[-1].noisy, steps[-1].estimate)
        assert not torch.equal(steps[0].noisy, steps[0].estimate)


def one_step(model: UnifiedModel, cache: Cache, **settings: object) -> torch.Tensor:
    (step,) = drawing(model, cache, noise(2), steps=1, **settings)  # type: ignore[arg-type]
    return step.estimate


def test_guidance_by_hand(model: UnifiedModel) -> None:
    """One step from noise at t = 0, where an estimate is noise plus velocity; plan and prompt weighted apart."""
    cache = read_text(model, read_text(model, None, tokens(2, 3)), tokens(2, 2, seed=4))
    batch = random_batch(layout(("text", 3), ("text", 2), *[("noisy", 4, 0)] * 3), 2, torch.float64)
    hidden = torch.zeros(2, 3, 5, dtype=torch.bool)
    hidden[:, 1, 1] = True
    hidden[:, 2, :2] = True
    batch = replace(
        batch,
        tokens=torch.cat([tokens(2, 3), tokens(2, 2, seed=4)], 1),
        noisy=noise(2)[:, None].expand(-1, 3, -1, -1),
        times=torch.zeros(2, 3, dtype=torch.float64),
        hidden=hidden,
    )
    everything, prompt, nothing = model(batch).estimates.unbind(1)
    with_plan = {"prompt": (0,), "plan": (1,)}
    close(one_step(model, cache), everything)
    close(one_step(model, cache, guidance=Guidance(0), **with_plan), nothing)
    close(one_step(model, cache, guidance=Guidance(1, plan=0), **with_plan), prompt)
    expected = nothing + 3 * (prompt - nothing) + 2 * (everything - prompt)
    close(one_step(model, cache, guidance=Guidance(3, plan=2), **with_plan), expected)
    expected = nothing + 3 * (everything - nothing)
    close(one_step(model, cache, guidance=Guidance(3), **with_plan), expected)
    close(one_step(model, cache, guidance=Guidance(3), prompt=(0, 1)), expected)


def test_branches_that_count_nothing_are_not_computed() -> None:
    assert Guidance().branches((0,), (1,)) == [(frozenset(), 1.0)]
    assert Guidance(0).branches((0,)) == [(frozenset({0}), 1)]
    assert len(Guidance(3).branches((0,), (1,))) == 2
    assert len(Guidance(3, plan=2).branches((0,), (1,))) == 3


def test_what_is_kept_comes_out_as_it_is(model: UnifiedModel) -> None:
    free = torch.tensor([[True, False, False, True], [False, True, True, True]])
    picture = noise(2, seed=9)
    cache = see(model, read_text(model, None, tokens(2, 3)), picture, masked=free)
    *_, last = drawing(model, cache, noise(2), steps=4, keep=Keep(picture, free))
    assert torch.equal(last.noisy[~free], picture[~free])
    assert not torch.isclose(last.noisy[free], picture[free]).all(-1).any()
    steps = list(drawing(model, cache, noise(2), steps=4, keep=Keep(picture, free)))
    first = steps[0]
    close(first.noisy[~free], first.time * picture[~free] + (1 - first.time) * noise(2)[~free])


def test_rows_drawn_together_are_rows_drawn_alone(model: UnifiedModel) -> None:
    """Prompts of different lengths, padded in front, with guidance."""
    text = tokens(2, 4)
    real = torch.tensor([[True] * 4, [False, False, True, True]])
    together = draw(model, CODEC, read_text(model, None, text, real), noise(2), steps=3, guidance=Guidance(2))
    alone = draw(model, CODEC, read_text(model, None, text[1:, 2:]), noise(2)[1:], steps=3, guidance=Guidance(2))
    close(together[1:], alone)
    assert together.shape == (2, 3, 4, 4)


def test_a_row_that_is_done_waits_for_the_others(model: UnifiedModel) -> None:
    text, real = tokens(2, 3), torch.tensor([[True] * 3, [False, True, True]])
    script = [[5, 1, 0, 0], [5, 6, 7, 1]]

    def choose(logits: torch.Tensor, written: list[list[int]]) -> torch.Tensor:
        seen.append(logits)
        return torch.tensor([row[len(seen) - 1] for row in script])

    seen: list[torch.Tensor] = []
    written = write(model, None, text, stop=1, limit=9, choose=choose, real=real)
    assert written.tokens == ((5,), (5, 6, 7))
    assert written.stopped == (True, True)
    assert len(seen) == 4
    assert written.cache.layout == layout(("text", 7))
    # The first row goes on as if its padding were not there.
    alone = read_text(model, None, torch.cat([text[:1], torch.tensor([[5, 1]])], 1))
    *_, together = drawing(model, written.cache, noise(2), steps=2)
    *_, single = drawing(model, alone, noise(2)[:1], steps=2)
    close(together.noisy[:1], single.noisy)


def test_a_row_that_never_stops_ends_at_the_limit(model: UnifiedModel) -> None:
    written = write(model, None, tokens(1, 2), stop=WORDS + 1, limit=3)
    assert len(written.tokens[0]) == 3
    assert written.stopped == (False,)


def test_a_cache_is_never_changed(model: UnifiedModel) -> None:
    cache = read_text(model, None, tokens(1, 3))
    before = [past.keys.clone() for past in cache.pasts]
    see(model, cache, noise(1))
    *_, one = drawing(model, cache, noise(1), steps=2)
    *_, two = drawing(model, cache, noise(1), steps=2)
    assert torch.equal(one.noisy, two.noisy)
    assert all(torch.equal(past.keys, old) for past, old in zip(cache.pasts, before, strict=True))


def test_what_cannot_be_drawn_or_read(model: UnifiedModel) -> None:
    cache = read_text(model, None, tokens(2, 3))
    with pytest.raises(UserError, match="steps: 0"):
        next(drawing(model, cache, noise(2), steps=0))
    with pytest.raises(UserError, match=r"noise: has shape \(1, 4, 12\); this model draws \(2, 4, 12\)"):
        next(drawing(model, cache, noise(1)))
    with pytest.raises(UserError, match="holds 2 rows, 1 were given"):
        read_text(model, cache, tokens(1, 1))
    with pytest.raises(UserError, match="noisy ones are drawn after it"):
        extend(model, None, random_batch(layout(("noisy", 4, 0)), 1, torch.float64))
