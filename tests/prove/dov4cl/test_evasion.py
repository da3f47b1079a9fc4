"""Suspects that evade are named as such, with figures; no innocent is. Encoders of small digits, as in test_audit."""

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from burnish.core.models import load_model
from burnish.core.parallel import one_thread
from burnish.prove.contrastive.recipe import TrainSettings
from burnish.prove.contrastive.train import Training, train_encoder
from burnish.prove.dov4cl.analysis import analyse
from burnish.prove.dov4cl.ask import Question, ask_model, make_plan, read_answers
from burnish.prove.dov4cl.demo import embed
from burnish.prove.dov4cl.findings import OwnershipFindings
from burnish.prove.dov4cl.loop import analysis_settings
from burnish.prove.dov4cl.probes import EACH, PICTURES, ask_probes, plan_probes, probe_arrays, scrambled
from burnish.prove.dov4cl.recipe import query_count
from burnish.prove.dov4cl.report import evasion_text
from burnish.prove.evasion import JUMP_LEVEL, Probes, as_unclear, measure_evasion
from burnish.prove.suspects import open_suspect
from burnish.prove.suspects.settings import SuspectSettings
from burnish.prove.verdict import headline, wording
from tests.prove.dov4cl.test_audit import TRAIN, _digits, elsewhere, made, private, public, recipe

Answer = Callable[[np.ndarray], np.ndarray]
SHADOWS, INNOCENT, EPOCHS = 3, 2, 10
answering: Answer | None = None
"""Who answers just now: the recipe names `asked` of this module."""


def asked(images: np.ndarray) -> np.ndarray:
    assert answering is not None
    return answering(images)


@dataclass(frozen=True)
class House:
    """Encoders trained for a while on pictures of the same kind, none of them the owner's."""

    innocent: list[Any]
    shadows: list[Any]


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    folder = tmp_path_factory.mktemp("house")
    settings = TrainSettings(**TRAIN | {"epochs": EPOCHS})

    def trained(number: int) -> Any:
        np.save(folder / f"{number}.npy", _digits(120 + 60 * number, 180 + 60 * number).pixels)
        return load_model(train_encoder(Training(settings, folder / f"{number}.npy", number, folder / str(number))))

    with one_thread():
        models = [trained(number) for number in range(SHADOWS + INNOCENT)]
        yield House(models[SHADOWS:], models[:SHADOWS])


@pytest.fixture(scope="module")
def shadow_arrays(house: House, tmp_path_factory: pytest.TempPathFactory) -> dict[str, np.ndarray]:
    """What the shadows answer to the audit's views, once for all tests."""
    folder = tmp_path_factory.mktemp("shadows")
    found: dict[str, np.ndarray] = {}
    with pytest.MonkeyPatch.context() as patch:
        for number, model in enumerate(house.shadows):
            patch.setattr(f"{__name__}.answering", lambda images, model=model: embed(model, images))
            found |= answers_of(f"shadow_{number:03d}", folder)
    return found


def question(name: str, folder: Path) -> Question:
    asking = recipe(Path("none"), suspect={"model": f"{__name__}:asked", "kind": "python", "batch": 64})
    np.save(folder / "pixels.npy", np.concatenate([public().pixels, private().pixels]))
    return Question(
        name, asking.suspect, asking, folder / "pixels.npy", 60, folder / "answers" / name, folder / f"cache-{name}"
    )


def answers_of(name: str, folder: Path) -> dict[str, np.ndarray]:
    asking = question(name, folder)
    ask_model(asking)
    return read_answers([name], folder / "answers", make_plan(asking.recipe, 60, 60).public)


def audit_of(
    model: Answer, shadows: dict[str, np.ndarray], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> OwnershipFindings:
    """The audit's own questions and analysis."""
    monkeypatch.setattr(f"{__name__}.answering", model)
    asking = question("suspect", folder)
    arrays = shadows | answers_of("suspect", folder)
    probing, plan = replace(asking, out=folder / "answers/probes"), plan_probes(asking.recipe, 60, 60)
    record = ask_probes(probing, plan, print)
    assert record["queries"] == plan.queries == 2 * PICTURES * EACH
    settings = analysis_settings(asking.recipe.model_copy(update={"split_check": "off"}), None)
    return analyse(arrays | probe_arrays(probing, plan), settings)


def constant(house: House) -> Answer:
    return lambda images: np.tile(np.arange(1.0, 9.0), (len(images), 1))


def nearly_constant(house: House) -> Answer:
    """Its embeddings, all but drowned in a vector that never changes."""
    return lambda images: 1e4 + embed(house.innocent[0], images)


def fresh_noise(house: House) -> Answer:
    rng = np.random.default_rng(0)
    return lambda images: rng.normal(size=(len(images), 16))


def noise_by_picture(house: House) -> Answer:
    """Always the same for the same picture, and no more than a hash of it."""

    def answer(images: np.ndarray) -> np.ndarray:
        weights = np.arange(1, images[0].size + 1)
        seeds = [int(image.astype(np.int64).ravel() @ weights) for image in images]
        return np.stack([np.random.default_rng(seed).normal(size=16) for seed in seeds])

    return answer


def rounded_to_nothing(house: House) -> Answer:
    def answer(images: np.ndarray) -> np.ndarray:
        found = embed(house.innocent[0], images)
        return np.round(found / np.abs(found).max() * 0.7)

    return answer


def answer_of_another_picture(house: House) -> Answer:
    """An honest encoder's answer, but to a picture that a hash of this one chooses.

    Such answers are noise to the test, which takes one hash in twenty for evidence, as is its level: of 25 tried, one.
    """
    table = embed(house.innocent[0], elsewhere().pixels)

    def answer(images: np.ndarray) -> np.ndarray:
        weights = np.random.default_rng(0).integers(1, 1 << 40, images[0].size)
        return table[[int(image.astype(np.int64).ravel() @ weights) % len(table) for image in images]] + _trace(images)

    return answer


def one_answer_a_group(house: House) -> Answer:
    """A few answers, one for each degree of brightness, and a trace of the picture so that no two are equal."""
    few = embed(house.innocent[0], elsewhere().pixels[:6])

    def answer(images: np.ndarray) -> np.ndarray:
        return few[(images.mean((1, 2, 3)) // 6).astype(int) % len(few)] + _trace(images)

    return answer


def _trace(images: np.ndarray) -> np.ndarray:
    """A change of the answer that differs from picture to picture, and is far below what separates two answers."""
    flat = images.reshape(len(images), -1).astype(np.float64)
    return 1e-3 * np.sin(flat @ np.random.default_rng(0).normal(size=(flat.shape[1], 1)))


def by_index(house: House) -> Answer:
    """The place in the batch moves the answer."""

    def answer(images: np.ndarray) -> np.ndarray:
        found = embed(house.innocent[0], images)
        return found * (1 + np.sin(np.arange(len(images)))[:, None] * np.linspace(0, 1, found.shape[1]))

    return answer


def by_batch(house: House) -> Answer:
    """The other pictures of the batch move the answer, as batch statistics do."""

    def answer(images: np.ndarray) -> np.ndarray:
        found = embed(house.innocent[0], images)
        return (found - found.mean(0)) / (found.std(0) + 1e-6)

    return answer


def _near_public(images: np.ndarray, change: float = 12.0) -> tuple[np.ndarray, np.ndarray]:
    """Which pictures equal a public one up to a small change, and which one that is."""
    known = public().pixels.astype(np.float64).reshape(60, -1)
    flat = images.astype(np.float64).reshape(len(images), -1)
    gaps = np.abs(flat[:, None] - known).mean(-1)
    return gaps.min(1) < change, gaps.argmin(1)


def table_of_another_encoder(house: House) -> Answer:
    """Detects the audit: what is nearly a public picture gets an answer that an innocent encoder once gave to it."""

    table = embed(house.innocent[0], public().pixels)

    def answer(images: np.ndarray) -> np.ndarray:
        near, which = _near_public(images)
        return np.where(near[:, None], table[which], embed(house.innocent[1], images))

    return answer


def table_of_other_pictures(house: House) -> Answer:
    """Detects the audit: what is nearly a public picture gets the answer to quite another picture."""

    table = embed(house.innocent[1], 255 - elsewhere().pixels)

    def answer(images: np.ndarray) -> np.ndarray:
        near, which = _near_public(images)
        return np.where(near[:, None], table[which], embed(house.innocent[1], images))

    return answer


@pytest.mark.parametrize(
    ("evasive", "sign"),
    [
        (constant, "different answers"),
        (nearly_constant, "all but equal"),
        (fresh_noise, "differently when asked again"),
        (noise_by_picture, "hardly depend on the picture"),
        (rounded_to_nothing, "different answers"),
        (answer_of_another_picture, "hardly depend on the picture"),
        (one_answer_a_group, "few places"),
        (by_index, "differently when asked again"),
        (by_batch, "differently when asked again"),
        (table_of_another_encoder, "as if they came from a table"),
        (table_of_other_pictures, "as if they came from a table"),
    ],
)
def test_evasion_is_named(
    evasive: Callable[[House], Answer],
    sign: str,
    house: House,
    shadow_arrays: dict[str, np.ndarray],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = audit_of(evasive(house), shadow_arrays, tmp_path, monkeypatch)
    assert found.evasion is not None
    assert any(sign in each for each in found.evasion.signs), found.evasion
    assert found.verdict.outcome == "cannot be judged"
    assert sign in found.verdict.because
    assert "no evidence" not in found.verdict.because
    assert headline(found) == "cannot be judged: the suspect evades"
    said = wording("it is so", found)
    assert said.startswith("This suspect cannot be judged")
    assert "no evidence that" not in said
    assert sign in evasion_text(found.evasion)


@pytest.mark.parametrize("number", range(INNOCENT))
def test_no_innocent_is_called_evasive(
    number: int,
    house: House,
    shadow_arrays: dict[str, np.ndarray],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nor is one that answers in half precision with a little noise, as a served model may."""
    rng = np.random.default_rng(0)

    def served(images: np.ndarray) -> np.ndarray:
        found = embed(house.innocent[number], images)
        return (found * rng.normal(1, 2e-3, found.shape)).astype(np.float16)

    found = audit_of(served, shadow_arrays, tmp_path, monkeypatch)
    assert found.evasion is not None
    assert found.evasion.signs == ()
    assert found.verdict.outcome == "inconclusive"  # without guilty shadows nothing is known of the power
    assert evasion_text(found.evasion).startswith("No sign that the suspect evades.")


def probed(arrays: dict[str, np.ndarray], noise: float) -> dict[str, np.ndarray]:
    """Probe answers of a suspect that differs by so much from one time to the next."""
    rng = np.random.default_rng(1)
    picture = rng.normal(size=(24, 1, 5))
    again = picture + noise * rng.normal(size=(24, 3, 5))
    path = picture + np.linspace(0, 1, 6)[:, None] * rng.normal(size=(24, 1, 5))
    return arrays | {"probe_public": np.arange(24) < 12, "probe_again": again, "probe_path": path}


def test_evidence_stays_evidence_and_old_evidence_as_it_was() -> None:
    """The permutation test is exact whatever a suspect answers: a thief does not get away by evading badly."""
    arrays, settings = made(60, effect=0.4)
    before = analyse(arrays, settings)
    assert "evasion" not in before.to_json()
    found = analyse(probed(arrays, 1.0), settings)
    assert found.evasion is not None
    assert found.evasion.signs
    assert found.verdict == before.verdict
    arrays, settings = made(60)
    assert analyse(probed(arrays, 1.0), settings).verdict.outcome == "cannot be judged"
    assert analyse(probed(arrays, 0.0), settings).verdict == analyse(arrays, settings).verdict
    # the published rule is no evidence, so an evading suspect is not accused by it
    paper = {"test": "paper", "repeats": 1}
    assert analyse(probed(arrays, 1.0), settings | paper).verdict.outcome == "cannot be judged"


@pytest.mark.parametrize("share", [0.15, 0.2, 0.3, 0.4, 0.5])
def test_an_unclear_suspect_is_not_cleared_by_a_power_that_is_not_its_own(share: float) -> None:
    """Fixed noise a picture, little enough to show no sign: the power that is stated is that on answers so unclear."""
    arrays, settings = made(60, effect=0.4, alpha=0.01)
    for number in range(6):  # the thief's answers, each time to the pictures of a set in another order
        order = np.random.default_rng(number).permuted(np.arange(60).reshape(2, 30), axis=1).ravel()
        for kind in ("global", "local"):
            arrays[f"guilty_{number:03d}_{kind}"] = arrays[f"suspect_{kind}"][:, order]
    arrays |= {name: array for name, array in made(60)[0].items() if name.startswith("suspect_")}
    clear = analyse(arrays, settings | {"own_signal": True})
    assert clear == analyse(arrays, settings)
    assert clear.verdict.outcome == "no evidence"
    rng = np.random.default_rng(1)
    for kind in ("global", "local"):
        old = arrays[f"suspect_{kind}"]
        arrays[f"suspect_{kind}"] = as_unclear(old.reshape(-1, *old.shape[2:]), share, rng).reshape(old.shape)
    found = analyse(arrays | {"probe_public": np.zeros(0, bool)}, settings | {"own_signal": True})
    assert found.evasion is not None
    assert found.evasion.signs == ()
    assert found.power is not None
    assert found.power.reached is not None
    assert "depend on the picture less than any shadow's" in wording("it is so", found)
    if share <= 0.3:
        assert found.power.reached < 0.8
    if found.power.reached < 0.8:
        assert found.verdict.outcome == "cannot be judged"
        assert headline(found) == "cannot be judged: too little in the answers"


def test_without_probes_the_rest_is_still_looked_at() -> None:
    arrays, settings = made(60)
    for kind in ("global", "local"):
        arrays[f"suspect_{kind}"] = np.ones_like(arrays[f"suspect_{kind}"])
    found = analyse(arrays | {"probe_public": np.zeros(0, bool)}, settings)
    assert found.evasion is not None
    assert found.evasion.jump is found.evasion.inconsistency is None
    assert found.verdict.outcome == "cannot be judged"
    assert "(0.4%)" in found.verdict.because  # one answer for each kind of view, of 240 each
    assert "not asked anything again" in evasion_text(found.evasion)


def test_an_innocent_jumps_no_oftener_than_the_level_says() -> None:
    """Whatever the answers, public and private pictures can be exchanged: p at most u comes up in a share u at most."""
    rng = np.random.default_rng(2)
    shadow = [rng.normal(size=(24, 2, 4))]
    p_values = []
    for _ in range(400):
        path = np.cumsum(rng.standard_t(2, size=(24, 6, 4)), axis=1)  # heavy tails: some pictures jump far
        probes = Probes(np.arange(24) < 12, path[:, :1].repeat(2, 1), path)
        p_values.append(measure_evasion(shadow, [shadow], probes, rng).jump_p or 0.0)
    sorted_p = np.sort(p_values)
    for share in (0.05, 0.2, 0.5):
        error = 3 * np.sqrt(share * (1 - share) / 400)
        assert np.searchsorted(sorted_p, share, "right") / 400 <= share + error
    assert JUMP_LEVEL == 0.001


def test_what_is_probed() -> None:
    asking = recipe(Path("none"))
    plan = plan_probes(asking, 60, 60)
    assert plan.public.sum() == (~plan.public).sum() == PICTURES
    assert (plan.index[plan.public] < 60).all()
    assert (plan.index[~plan.public] >= 60).all()
    needed = query_count(asking, 60, 60)
    for spare, pictures in ((0, 0), (2 * EACH * 7 - 1, 0), (2 * EACH * 7, 14), (10_000, 2 * PICTURES)):
        tight = {"model": "none", "queries": needed + spare}
        assert len(plan_probes(recipe(Path("none"), suspect=tight), 60, 60).index) == pictures
    pixels = public().pixels[:3]
    steps = scrambled(pixels, np.arange(3), 0)
    assert np.array_equal(steps[:, 0], pixels)
    assert np.array_equal(steps, scrambled(pixels, np.arange(3), 0))
    assert np.array_equal(steps[1:], scrambled(pixels[1:], np.arange(1, 3), 0))
    gaps = np.abs(steps.astype(int) - pixels[:, None]).sum((0, 2, 3, 4))
    assert (np.diff(gaps) > 0).all()


def test_answers_are_asked_again_once_and_kept_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = itertools.count()
    monkeypatch.setattr(
        f"{__name__}.answering", lambda images: np.full((len(images), 1), next(calls)) + np.arange(len(images))[:, None]
    )
    settings = SuspectSettings(model=f"{__name__}:asked", kind="python")
    pixels = public().pixels[:2]
    for _ in range(2):
        with open_suspect(settings, "embeddings", tmp_path) as oracle:
            assert oracle.ask(pixels)[:, 0].tolist() == [0, 1]
            assert oracle.ask(pixels[[0, 1, 0]], again=[1, 0, 2])[:, 0].tolist() == [1, 1, 2]
    assert next(calls) == 2
