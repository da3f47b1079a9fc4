"""The whole model: half precision, and that it learns to draw what the words say."""

import torch

from burnish.generate.drawing import drawing
from burnish.generate.flow import mix, training_times, velocity
from burnish.generate.interleaving import read_text
from burnish.generate.model import place_code
from burnish.generate.records import Batch
from tests.generate.small import different_experts, layout, random_batch, small_model

MIXED = layout(("text", 3), ("clean", 4, 0), ("noisy", 4, 1))


def test_under_autocast_pictures_stay_float32_and_near() -> None:
    model = different_experts(small_model("mint"))
    batch = random_batch(MIXED)
    exact = model(batch)
    with torch.autocast("cpu", torch.bfloat16):
        said = model(batch)
    assert said.estimates.dtype == torch.float32
    assert said.text_logits.dtype == torch.bfloat16
    torch.testing.assert_close(said.estimates, exact.estimates, atol=0.05, rtol=0.05)
    said.estimates.square().mean().backward()
    assert all(bool(parameter.grad.isfinite().all()) for parameter in model.parameters() if parameter.grad is not None)


def test_a_place_is_as_loud_as_a_patch_and_like_no_other() -> None:
    code = place_code(4, 4, 96)
    assert code.square().mean().sqrt().item() == torch.tensor(0.5).sqrt().item()
    likeness = code @ code.T / 48
    assert likeness.diagonal().allclose(torch.ones(16))
    assert (likeness - torch.eye(16)).max() < 0.85
    assert likeness[0, 1].isclose(likeness[0, 4])  # a step right is as far as a step down


def test_it_learns_to_draw_what_a_word_says() -> None:
    """Two words, two flat pictures: after some steps each word draws its own from noise."""
    model = small_model("mint").train()
    optimizer = torch.optim.AdamW(model.parameters(), 3e-3)
    known = layout(("text", 1), ("noisy", 4, 0))
    colours = torch.tensor([-0.8, 0.8])
    generator = torch.Generator().manual_seed(0)
    for _ in range(80):
        words = torch.randint(0, 2, (16, 1), generator=generator)
        data = colours[words][:, :, None, None].expand(-1, 1, 4, 12)
        noise = torch.randn(data.shape, generator=generator)
        times = training_times(torch.randn(16, 1, generator=generator))
        noisy = mix(data, noise, times)
        said = model(Batch(known, words, data[:, :0], noisy, times)).estimates
        loss = (velocity(said, noisy, times) - velocity(data, noisy, times)).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    cache = read_text(model.eval(), None, torch.tensor([[0], [1]]))
    *_, last = drawing(model, cache, torch.randn(2, 4, 12, generator=generator), steps=5)
    assert (last.noisy.mean((1, 2)) - colours).abs().max() < 0.2
