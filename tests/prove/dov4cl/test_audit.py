"""A whole audit on small digits: the thief is found, the innocent is not, nothing is done twice, bad input in one
line."""

import importlib.util
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from burnish.core.errors import Interrupted, UserError
from burnish.core.run import Run
from burnish.prove.contrastive.recipe import TrainSettings
from burnish.prove.contrastive.train import Training, train_encoder
from burnish.prove.dov4cl import METHOD, loop
from burnish.prove.dov4cl.analysis import analyse
from burnish.prove.dov4cl.ask import Question, ask_model, make_plan
from burnish.prove.dov4cl.recipe import AuditRecipe
from burnish.prove.dov4cl.report import power_text, sections
from burnish.prove.evidence import verify
from burnish.prove.images import ImageSet
from burnish.prove.verdict import wording
from burnish.testbeds.data import load_digits

TRAIN: dict[str, Any] = {"epochs": 160, "batch": 60, "lr": 3e-3, "view": {"scale": [0.5, 1.0], "flip": 0.0}}
VIEWS = {
    "global_views": 4,
    "local_views": 4,
    "local_size": "same",
    "global_view": {"scale": [0.5, 1.0], "flip": 0.0},
    "local_view": {"scale": [0.4, 0.8], "flip": 0.0},
}


def _digits(start: int, stop: int) -> ImageSet:
    order = np.random.default_rng(0).permutation(1797)[start:stop]
    pixels = (load_digits().pixels[order, :, :, None] * 255).astype(np.uint8)
    return ImageSet(pixels, tuple(f"digit-{place}" for place in order))


def public() -> ImageSet:
    return _digits(0, 60)


def private() -> ImageSet:
    return _digits(60, 120)


def others() -> ImageSet:
    return _digits(120, 900)


def elsewhere() -> ImageSet:
    return _digits(900, 960)


def small() -> ImageSet:
    return ImageSet(np.zeros((4, 8, 8, 1), np.uint8), ("a", "b", "c", "d"))


def larger() -> ImageSet:
    return ImageSet(np.random.default_rng(0).integers(0, 256, (60, 9, 9, 1), dtype=np.uint8), ("x",) * 60)


def bright() -> ImageSet:
    found = _digits(60, 120)
    return ImageSet((found.pixels.astype(np.int64) * 7 // 10 + 70).astype(np.uint8), found.names)


def source(name: str) -> dict[str, Any]:
    return {"source": f"{__name__}:{name}", "channels": 1}


@pytest.fixture(scope="module")
def suspects(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Two encoders: one trained on the public pictures, one on others of the same kind."""
    folder = tmp_path_factory.mktemp("suspects")
    settings = TrainSettings(**TRAIN)
    for name, images in (("thief", public()), ("innocent", elsewhere())):
        np.save(folder / f"{name}.npy", images.pixels)
        train_encoder(Training(settings, folder / f"{name}.npy", 77, folder / name))
    return {name: folder / name for name in ("thief", "innocent")}


def recipe(model: Path, **changes: Any) -> AuditRecipe:
    data: dict[str, Any] = {
        "suspect": {"model": str(model), "batch": 500},
        "public": source("public"),
        "private": source("private"),
        "shadows": {"images": source("others"), "count": 3, "guilty": 1, "train": TRAIN},
        "views": VIEWS,
        "draws": 500,
    }
    return AuditRecipe.model_validate(data | changes)


def audit(recipe: AuditRecipe, path: Path) -> dict[str, Any]:
    with Run(recipe, path, quiet=True) as run:
        METHOD.load("run")(recipe, run)
    found: dict[str, Any] = json.loads((path / "artifacts" / "findings.json").read_text())
    return found


def test_thief_and_innocent(suspects: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    thief = audit(recipe(suspects["thief"]), tmp_path / "thief")
    assert thief["verdict"]["outcome"] == "evidence"
    assert thief["p"] <= 0.01
    checked = verify(tmp_path / "thief" / "artifacts" / "evidence")
    assert checked.ok, checked.problems
    asked = json.loads((tmp_path / "thief" / "artifacts" / "asked.json").read_text())
    assert asked["suspect"]["queries"] + asked["suspect"]["saved"] == 120 * 8
    titles = [section.title for section in sections(tmp_path / "thief")]
    assert "Verdict" in titles
    assert "What was asked" in titles
    # the innocent, in the same folder of shadows: nothing is trained again
    with Run(recipe(suspects["innocent"]), tmp_path / "other", quiet=True):
        (tmp_path / "other" / "artifacts").mkdir()
        (tmp_path / "thief" / "artifacts" / "shadows").rename(tmp_path / "other" / "artifacts" / "shadows")
    monkeypatch.setattr("burnish.prove.contrastive.train.fit", None)
    innocent = audit(recipe(suspects["innocent"]), tmp_path / "other")
    assert innocent["verdict"]["outcome"] != "evidence"
    assert innocent["power"]["reached"] > 0.5
    assert innocent["shadows"] == 3
    assert innocent["guilty_shadows"] == 1


def test_interrupted_anywhere_it_goes_on(
    suspects: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    short = {"images": source("others"), "count": 2, "train": TRAIN | {"epochs": 2}}
    asked = recipe(suspects["thief"], shadows=short, checkpoint_every=0)
    whole = audit(asked, tmp_path / "whole")
    monkeypatch.setattr("burnish.prove.dov4cl.ask.BYTES", 8 * 64 * 4)  # a few images at a time
    real, calls = analyse, 0

    def stop_at(chunk: int) -> None:
        with pytest.raises(Interrupted), Run(asked, tmp_path / "cut", quiet=True) as run:
            heard = loop._heard

            def hear(*args: Any) -> None:
                if args[2] == chunk:
                    run._signals.number = 15
                heard(*args)

            monkeypatch.setattr(loop, "_heard", hear)
            try:
                METHOD.load("run")(asked, run)
            finally:
                monkeypatch.setattr(loop, "_heard", heard)

    stop_at(3)
    trained = {
        path.name: path.stat().st_mtime_ns for path in (tmp_path / "cut/artifacts/shadows").glob("*/config.json")
    }
    stop_at(10)

    def counted(*args: Any) -> Any:
        nonlocal calls
        calls += 1
        return real(*args)

    monkeypatch.setattr(loop, "analyse", counted)
    again = audit(asked, tmp_path / "cut")
    assert again == whole
    assert calls == 1
    left = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "cut/artifacts/shadows").glob("*/config.json")}
    assert left == trained
    record = json.loads((tmp_path / "cut" / "artifacts" / "asked.json").read_text())["suspect"]
    assert record["queries"] < 120 * 8  # the rest was on disk
    logged = [json.loads(line)["step"] for line in (tmp_path / "cut" / "metrics.jsonl").read_text().splitlines()]
    assert logged == list(range(1, len(logged) + 1)), "each chunk is logged once"


def test_kornia_is_not_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is what views are checked against here; an audit itself does without."""
    real = importlib.util.find_spec
    hidden = lambda name, *more: None if name == "kornia" else real(name, *more)  # noqa: E731
    monkeypatch.setattr(importlib.util, "find_spec", hidden)
    with pytest.raises(UserError, match="10 of each"):  # what comes next: too few pictures
        audit(recipe(tmp_path, public=source("small")), tmp_path / "run")


@pytest.mark.parametrize("whose", ["suspect", "shadow"])
def test_a_budget_too_small_is_refused_before_anything_is_trained(
    whose: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    short = {"model": f"{__name__}:mean_colour", "kind": "python", "queries": 959}
    more = {"models": [short]} if whose == "shadow" else {}
    shadows = {"images": source("others"), "count": 1, "train": TRAIN} | more
    asked = recipe(Path("none"), shadows=shadows, **({"suspect": short} if whose == "suspect" else {}))
    monkeypatch.setattr(loop, "train_shadows", None)
    with pytest.raises(UserError, match="960 queries needed, and the budget is 959; nothing was asked"):
        audit(asked, tmp_path / "run")


def mean_colour(images: np.ndarray) -> np.ndarray:
    return images.mean((1, 2, 3))[:, None]


def test_a_stop_is_honoured_every_few_batches(tmp_path: Path) -> None:
    np.save(tmp_path / "pixels.npy", np.concatenate([public().pixels, private().pixels]))
    asked = recipe(Path("none"), suspect={"model": f"{__name__}:mean_colour", "kind": "python", "batch": 8})
    question = Question(
        "suspect", asked.suspect, asked, tmp_path / "pixels.npy", 60, tmp_path / "out", tmp_path / "cache"
    )
    made = [0]
    ask_model(question, step=lambda done, total, oracle: made.append(oracle.made + oracle.saved))
    assert made[-1] == 120 * 8
    assert max(np.diff(made)) == 4 * 8


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("public", lambda public, private, others: (public[:-1], np.concatenate([public[-1:], private]), others)),
        ("public", lambda public, private, others: (public[::-1], private, others)),
        ("private", lambda public, private, others: (public, private[1:], others)),
        ("private", lambda public, private, others: (public, private ^ 1, others)),
        ("shadows.images", lambda public, private, others: (public, private, others[::-1])),
    ],
)
def test_pictures_that_changed_midway_are_refused(
    name: str, change: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first change leaves the pictures of both sets in order, and moves one from public to private."""
    short = {"images": source("others"), "count": 1, "train": TRAIN | {"epochs": 1}}
    asked = recipe(tmp_path / "unread", shadows=short, checkpoint_every=0, split_check="off")

    def stop(*args: Any) -> None:
        raise Interrupted("", 15)

    with monkeypatch.context() as cut, pytest.raises(Interrupted):
        cut.setattr(loop, "train_shadows", stop)
        audit(asked, tmp_path / "run")
    sets = change(*(made().pixels for made in (public, private, others)))
    for kind, pixels in zip(("public", "private", "others"), sets, strict=True):
        found = ImageSet(pixels, tuple(f"{kind}-{place}" for place in range(len(pixels))))
        monkeypatch.setattr(f"{__name__}.{kind}", lambda found=found: found)
    with pytest.raises(UserError, match=f"^{name}: the pictures changed since this audit began; .*start afresh$"):
        audit(asked, tmp_path / "run")


def test_published_test_and_estimate(suspects: dict[str, Path], tmp_path: Path) -> None:
    short = {"images": source("others"), "count": 1, "train": TRAIN | {"epochs": 2}}
    paper = recipe(suspects["thief"], shadows=short, test="paper", rounds=4, images_per_round=8, repeats=2, workers=2)
    found = audit(paper, tmp_path / "run")
    assert len(found["tests"]) == 2
    assert any("independent" in line for line in found["assumptions"])
    assert verify(tmp_path / "run" / "artifacts" / "evidence").ok
    rows = dict(METHOD.load("check")(paper))
    assert rows["queries"].startswith(f"up to {2 * 4 * 16 * 8:,}")
    assert "1 innocent and 0 guilty" in rows["shadows"]
    with pytest.raises(UserError, match="images_per_round: 200"):
        make_plan(paper.model_copy(update={"images_per_round": 200}), 60, 60)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"private": source("small")}, "10 of each"),
        ({"private": source("larger")}, "private: pictures of 9 x 9 x 1, the public ones have 8 x 8 x 1"),
        ({"private": source("bright")}, "told apart without any model"),
        (
            {"shadows": {"images": source("public"), "count": 1, "train": TRAIN}},
            "shadows.images: digit-.* the same picture",
        ),
        ({"shadows": {"images": source("others"), "count": 1, "size": 2000, "train": TRAIN}}, "each shadow sees 2000"),
    ],
)
def test_bad_input(changes: dict[str, Any], words: str, suspects: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(UserError, match=words):
        audit(recipe(suspects["thief"], **changes), tmp_path / "run")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"private": source("public")}, "the same pictures as public"),
        ({"shadows": {"count": 2}}, "give shadows.images"),
        ({"shadows": {"count": 0}}, "none to compare with"),
    ],
)
def test_recipes_that_cannot_be(changes: dict[str, Any], words: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=words):
        recipe(tmp_path, **changes)


def made(n: int = 12, effect: float = 0.0, **changes: Any) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Answers of a suspect and three shadows; with ``effect``, the suspect's public images move less."""
    rng = np.random.default_rng(0)
    flags = np.arange(n) < n // 2
    arrays: dict[str, np.ndarray] = {"public": flags}
    centres = rng.normal(size=(1, n, 1, 5))
    for name in ("suspect", "shadow_000", "shadow_001", "shadow_002"):
        scale = np.where(flags & (name == "suspect"), 0.5 - effect, 0.5)[None, :, None, None]
        for kind in ("global", "local"):
            arrays[f"{name}_{kind}"] = (centres + scale * rng.normal(size=(1, n, 4, 5))).astype(np.float32)
    settings = {
        "seed": 0, "test": "permutation", "alpha": 0.05, "a": 1.0, "draws": 500, "repeats": 1,
        "private_is": "held out", "split": None,
    }  # fmt: skip
    return arrays, settings | changes


def test_verdicts_follow_the_numbers() -> None:
    arrays, settings = made(60, effect=0.4)
    found = analyse(arrays, settings)
    assert found.verdict.outcome == "evidence"
    assert found.deciding == min(found.tests[:2], key=lambda test: test.p or 1.0).name
    assert any("Nobody checked" in line for line in found.assumptions)
    assert found == analyse(arrays, settings)
    json.dumps(found.to_json(), allow_nan=False)
    split = {"auc": 0.9, "p": 0.001, "draws": 999, "alpha": 0.01}
    checked = analyse(arrays, settings | {"split": split})
    assert not any("Nobody checked" in line for line in checked.assumptions)
    told = checked.verdict
    assert told.outcome == "inconclusive"
    assert "told apart" in told.because
    # without shadows that were trained on the public images, nothing is known of the power
    arrays, settings = made(60, effect=0.05)
    found = analyse(arrays, settings)
    assert found.verdict.outcome == "inconclusive"
    assert "shadows.guilty" in found.verdict.because
    # ... and the suspect's own difference, here above 0, does not stand in for it
    assert found.effects is not None
    assert found.effects.suspect["unary"] > np.mean([each["unary"] for each in found.effects.shadows])
    assert found.power is not None
    assert found.power.images_needed is None
    assert (found.power.models, found.power.reached) == (0, None)
    for each in found.power.by.values():
        assert each.detectable > 0
        assert each.expected is each.images_needed is None
    assert "needed" not in power_text(found.power)
    assert "needed" not in wording("it is so", found)
    # a guilty shadow that is no different: the test could not have seen it
    arrays, settings = made(60)
    arrays |= {f"guilty_000_{kind}": arrays[f"shadow_000_{kind}"] for kind in ("global", "local")}
    found = analyse(arrays, settings)
    assert found.verdict.outcome == "inconclusive"
    assert found.power is not None
    assert found.power.reached is not None
    assert found.power.reached < 0.8
    assert found.power.models == 1
    assert "this very test finds 0 of the 1 shadows" in found.verdict.because
    # guilty shadows that any test would see: five are too few to show it, six are not
    loud, _ = made(60, effect=0.45)
    for number in range(5):
        arrays |= {f"guilty_{number:03d}_{kind}": loud[f"suspect_{kind}"] for kind in ("global", "local")}
    found = analyse(arrays, settings)
    assert found.verdict.outcome == "inconclusive"
    assert found.power is not None
    assert (found.power.reached, found.power.shadows_needed) == (1.0, 6)
    assert "it takes 6 shadow models trained so" in found.verdict.because
    arrays |= {f"guilty_005_{kind}": loud[f"suspect_{kind}"] for kind in ("global", "local")}
    found = analyse(arrays, settings)
    assert found.verdict.outcome == "no evidence"
    assert found.power is not None
    assert found.power.interval == pytest.approx((0.025 ** (1 / 6), 1.0))
    assert min(each.images_needed or 99 for each in found.power.by.values()) < 30
    assert "6 of 6 shadows trained on the public pictures are found" in power_text(found.power)
    assert any("synthetic" in line for line in analyse(arrays, settings | {"private_is": "synthetic"}).assumptions)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda arrays: arrays.pop("public"), "no array `public`"),
        (lambda arrays: arrays.pop("suspect_local"), "suspect_local is missing"),
        (lambda arrays: [arrays.pop(f"suspect_{kind}") for kind in ("global", "local")], "suspect and shadows"),
        (lambda arrays: arrays.update(suspect_global=arrays["suspect_global"][:, :3]), r"of shape \(1, 3, 4, 5\)"),
        (lambda arrays: arrays.update(suspect_global=arrays["suspect_global"] * np.nan), "not finite"),
        (lambda arrays: arrays.update(public=np.arange(12) < 1), "a test needs 2 of each"),
        (lambda arrays: arrays.update(suspect_local=np.tile(arrays["suspect_local"], (2, 1, 1, 1))), "as many draws"),
    ],
)
def test_answers_that_are_none(spoil: Any, words: str) -> None:
    arrays, settings = made()
    spoil(arrays)
    with pytest.raises(UserError, match=words):
        analyse(arrays, settings)
