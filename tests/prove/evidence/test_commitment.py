import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import burnish.prove
from burnish.core.errors import UserError
from burnish.prove.evidence import check_commitment, write_commitment
from burnish.prove.evidence.commitment import contents
from burnish.prove.images import ImageSettings
from tests.prove.evidence.fake import FakeRecipe


@pytest.fixture
def recipe(tmp_path: Path) -> FakeRecipe:
    for name in ("public", "private"):
        (tmp_path / name).mkdir()
        for number in range(3):
            value = number + 10 * (name == "private")
            Image.fromarray(np.full((4, 4, 3), value, np.uint8)).save(tmp_path / name / f"{number}.png")
    return made(tmp_path)


def made(folder: Path, **more: Any) -> FakeRecipe:
    given = {
        "public": ImageSettings(source=str(folder / "public")),
        "private": ImageSettings(source=str(folder / "private")),
    }
    return FakeRecipe(**(given | more))


def test_the_small_file_tells_nothing_of_the_pictures(recipe: FakeRecipe, tmp_path: Path) -> None:
    first = write_commitment(recipe, tmp_path / "one.json")
    second = write_commitment(recipe, tmp_path / "two.json")
    one, two = (json.loads(path.read_text()) for path in (first, second))
    assert set(one) == {"format", "root", "algorithm", "method", "counts", "time", "burnish"}
    assert one["counts"] == {"public": 3, "private": 3}
    assert one["root"] != two["root"]  # salted: the same pictures cannot be recognised
    secret = json.loads((tmp_path / "one.secret.json").read_text())
    assert (tmp_path / "one.secret.json").stat().st_mode & 0o077 == 0
    for hidden in [secret["salt"], *secret["groups"].values(), str(tmp_path)]:
        assert hidden not in first.read_text()
    assert check_commitment(first, recipe)["root"] == one["root"]


def test_it_is_written_once(recipe: FakeRecipe, tmp_path: Path) -> None:
    write_commitment(recipe, tmp_path / "c.json")
    with pytest.raises(UserError, match="written once"):
        write_commitment(recipe, tmp_path / "c.json")
    (tmp_path / "c.json").unlink()
    with pytest.raises(UserError, match=r"c\.secret\.json: exists"):
        write_commitment(recipe, tmp_path / "c.json")


def test_what_may_differ_and_what_may_not(recipe: FakeRecipe, tmp_path: Path) -> None:
    from burnish.prove.suspects import SuspectSettings

    path = write_commitment(recipe, tmp_path / "c.json")
    check_commitment(path, made(tmp_path, commitment=str(path), workers=2, suspect=SuspectSettings(model="m:f")))
    (tmp_path / "private" / ".DS_Store").write_bytes(b"x")
    check_commitment(path, recipe)
    asked: dict[str, Any] = {"model": "m:f", "token_env": "TOKEN", "rate": 2.0}
    check_commitment(path, made(tmp_path, suspect=SuspectSettings(**asked)))
    changes: list[tuple[dict[str, Any], str]] = [
        ({"seed": 1}, "seed"),
        ({"alpha": 0.1}, "alpha"),
        ({"suspect": SuspectSettings(**asked, queries=50)}, "suspect.queries"),
        ({"suspect": SuspectSettings(**asked, pooling="mean")}, "suspect.pooling"),
    ]
    for change, name in changes:
        with pytest.raises(UserError, match=rf"commits to another recipe \(differs in {name}\)"):
            check_commitment(path, made(tmp_path, **change))


@pytest.mark.parametrize("what", ["changed", "added", "removed", "renamed"])
def test_other_pictures_are_named(recipe: FakeRecipe, tmp_path: Path, what: str) -> None:
    path = write_commitment(recipe, tmp_path / "c.json")
    picture = tmp_path / "private" / "1.png"
    if what == "changed":
        Image.fromarray(np.full((4, 4, 3), 99, np.uint8)).save(picture)
    elif what == "added":
        picture.with_name("9.png").write_bytes(picture.read_bytes())
    elif what == "removed":
        picture.unlink()
    else:
        picture.rename(picture.with_name("9.png"))
    with pytest.raises(UserError, match="what `private` names has changed"):
        check_commitment(path, recipe)


def test_pictures_of_a_function_and_a_local_model(recipe: FakeRecipe, tmp_path: Path) -> None:
    model = tmp_path / "model"
    model.mkdir()
    (model / "model.safetensors").write_bytes(b"weights")
    mine = made(tmp_path, public=ImageSettings(source="tests.prove.evidence.fake:pictures"), model=str(model))
    assert {name: len(items) for name, items in contents(mine).items()} == {
        "recipe": 1,
        "seed": 1,
        "public": 3,
        "private": 3,
        "model": 1,
    }
    path = write_commitment(mine, tmp_path / "c.json")
    check_commitment(path, mine)
    (model / "model.safetensors").write_bytes(b"other weights")
    with pytest.raises(UserError, match="what `model` names has changed"):
        check_commitment(path, mine)


def test_a_function_counts_by_its_source(recipe: FakeRecipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "own_generator.py").write_text("def draw():\n    return 1\n")
    mine = made(tmp_path, model="own_generator:draw")
    path = write_commitment(mine, tmp_path / "c.json")
    check_commitment(path, mine)
    (tmp_path / "own_generator.py").write_text("def draw():\n    return 2\n")
    with pytest.raises(UserError, match="what `model` names has changed"):
        check_commitment(path, mine)
    with pytest.raises(UserError, match="has no source file"):
        contents(made(tmp_path, model="math:sqrt"))


def test_damaged_files(recipe: FakeRecipe, tmp_path: Path) -> None:
    path = write_commitment(recipe, tmp_path / "c.json")
    secret = tmp_path / "c.secret.json"
    whole, hidden = path.read_text(), secret.read_text()
    path.write_text(whole.replace(json.loads(whole)["root"], "0" * 64))
    with pytest.raises(UserError, match=r"its root is not that of c\.secret\.json"):
        check_commitment(path, recipe)
    for text in ("", "[]", "[" * 10_000, '{"root": 1}', "{}"):
        path.write_text(text)
        with pytest.raises(UserError, match="no commitment that can be read"):
            check_commitment(path, recipe)
    path.write_text(whole)
    secret.write_text(hidden.replace(json.loads(hidden)["salt"], "salt"))
    with pytest.raises(UserError, match="damaged at `salt`"):
        check_commitment(path, recipe)
    secret.unlink()
    with pytest.raises(UserError, match="without the secret"):
        check_commitment(path, recipe)


def test_from_a_file_as_the_command_line_does(recipe: FakeRecipe, tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(recipe.to_yaml())
    found = burnish.prove.commit(tmp_path / "mine.yaml", tmp_path / "c.json", ["seed=4"])
    json.dumps(found)
    assert found["counts"] == {"public": 3, "private": 3}
    check_commitment(found["commitment"], made(tmp_path, seed=4))
    with pytest.raises(UserError, match="private: no such folder"):
        burnish.prove.commit(tmp_path / "mine.yaml", tmp_path / "d.json", [f"private.source={tmp_path}/absent/private"])
    assert not (tmp_path / "d.json").exists()
