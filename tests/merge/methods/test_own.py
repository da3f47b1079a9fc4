"""A user's own merge method: from a decorated function and a YAML to the merged folder, and all that can be wrong."""

import importlib
import itertools
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest
import torch
import yaml

from burnish.core.errors import UserError
from burnish.merge import merge, merge_method, plan
from burnish.merge.methods import get
from burnish.merge.methods.registry import find, table
from tests.merge.checkpoints import family, tensors_of

HEAD = """
from collections.abc import Sequence
from typing import Annotated, Literal
import torch
from pydantic import Field
from torch import Tensor
from burnish.merge import merge_method
"""
BLEND = """
@merge_method(reference="mine")
def blend(
    base: Tensor,
    models: Sequence[Tensor],
    *,
    weight: Sequence[float],
    strength: Annotated[float, Field(ge=0, le=2, description="how far to go")] = 1.0,
    lambda_: Sequence[float] = (1.0,),
    mode: Literal["sum", "mean"] = "sum",
) -> Tensor:
    shares = [w * each for w, each in zip(weight, lambda_, strict=True)]
    delta = sum(share * (model - base) for share, model in zip(shares, models, strict=True))
    return base + strength * (delta / len(models) if mode == "mean" else delta)
"""
_fresh = itertools.count()


@pytest.fixture(scope="module")
def llamas(tmp_path_factory) -> list[str]:
    return [str(path) for path in family(tmp_path_factory.mktemp("llamas"), "llama", 3)]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Write a module under a name that no test before used; returns the name."""
    monkeypatch.setattr(sys, "path", list(sys.path))

    def written(code: str, name: str = "") -> str:
        name = name or f"own_{next(_fresh)}"
        (tmp_path / f"{name}.py").write_text(HEAD + dedent(code))
        return name

    return written


def yaml_of(folder: Path, llamas: list[str], method: str, **parameters) -> Path:
    models = [{"model": path, "parameters": {"weight": 0.5}} for path in llamas[1:]]
    config = {"merge_method": method, "base_model": llamas[0], "models": models, "parameters": parameters}
    file = folder / "merge.yaml"
    file.write_text(yaml.safe_dump(config, sort_keys=False))
    return file


def test_a_function_beside_the_yaml_merges(write, llamas: list[str], tmp_path: Path) -> None:
    name = write(BLEND)
    file = yaml_of(tmp_path, llamas, f"{name}:blend", strength=0.5, **{"lambda": 2.0})
    rows = dict(plan(file).describe())
    assert rows["method"] == f"{name}:blend (mine)"
    out = merge(file, tmp_path / "out", progress=False)
    base, first, second = (tensors_of(Path(path)) for path in llamas)
    for key, tensor in tensors_of(out).items():
        wanted = base[key] + 0.5 * ((first[key] - base[key]) + (second[key] - base[key]))
        torch.testing.assert_close(tensor, wanted, rtol=1e-6, atol=1e-7)
    assert f"by `{name}:blend` (mine)" in (out / "README.md").read_text()


def test_gradients_and_filters_reach_it(write, llamas: list[str], tmp_path: Path) -> None:
    name = write(BLEND)
    setting = [{"filter": "mlp", "value": [0.0, 1.0]}, {"value": 0.0}]
    out = merge(yaml_of(tmp_path, llamas, f"{name}:blend", strength=setting), tmp_path / "out", progress=False)
    base, merged = tensors_of(Path(llamas[0])), tensors_of(out)
    moved = {key for key in merged if not merged[key].equal(base[key])}
    assert moved == {key for key in merged if "mlp" in key and "layers.0." not in key}


def test_a_finished_merge_stays_until_the_function_changes(write, llamas: list[str], tmp_path: Path) -> None:
    code = "import sys; from burnish.merge import merge; merge('merge.yaml', 'out', progress=False)"

    def again() -> subprocess.CompletedProcess[str]:
        return subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)

    name = write(BLEND)
    yaml_of(tmp_path, llamas, f"{name}:blend")
    assert again().returncode == 0
    written = (tmp_path / "out" / "model.safetensors").stat().st_mtime_ns
    assert again().returncode == 0
    assert (tmp_path / "out" / "model.safetensors").stat().st_mtime_ns == written
    write(BLEND.replace("base + strength", "base - strength"), name)
    assert "holds another finished merge" in again().stderr


def test_a_killed_merge_goes_on(write, llamas: list[str], tmp_path: Path) -> None:
    """The function fails at the last shard until the file `stop` is gone; the shards before it are not merged again."""
    name = write(
        f"""
        from pathlib import Path
        @merge_method
        def average(models: Sequence[Tensor]) -> Tensor:
            with (Path({str(tmp_path)!r}) / "calls").open("a") as file:
                file.write("x")
            if models[0].shape[0] == 64 and Path({str(tmp_path / "stop")!r}).exists():
                raise RuntimeError("stop")
            return sum(models) / len(models)
        """
    )
    (tmp_path / "stop").touch()
    config = {"merge_method": f"{name}:average", "models": [{"model": path} for path in llamas]}
    file = tmp_path / "merge.yaml"
    file.write_text(yaml.safe_dump(config))
    with pytest.raises(UserError, match=rf"tensor '.*': {name}:average raised RuntimeError: stop \({name}.py:\d+\)"):
        merge(file, tmp_path / "out", threads=1, shard_size="20KB", progress=False)
    (tmp_path / "stop").unlink()
    before = len((tmp_path / "calls").read_text())
    merge(file, tmp_path / "out", threads=1, shard_size="20KB", progress=False)
    assert len((tmp_path / "calls").read_text()) - before <= len(plan(file).steps)
    assert (tmp_path / "out" / "config.json").is_file()


def test_seed_is_the_tensors_own(write, tmp_path: Path) -> None:
    name = write(
        """
        @merge_method
        def noisy(models: Sequence[Tensor], *, seed: int) -> Tensor:
            return models[0] + torch.randn(models[0].shape, generator=torch.Generator().manual_seed(seed))
        """
    )
    method = find(f"{name}:noisy", tmp_path)
    first, again, other = (
        method(None, [torch.zeros(4)], model_parameters={}, parameters={}, seed=seed) for seed in (1, 1, 2)
    )
    assert first.equal(again)
    assert not first.equal(other)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"strenght": 1.0}, r"merge.yaml:\d+: `strenght` is no parameter of .*:blend; did you mean `strength`\?"),
        ({"strength": "far"}, r"merge.yaml:\d+: strength: expected a number, got 'far'"),
        ({"strength": 3.0}, r"merge.yaml:\d+: strength: expected a number from 0 to 2, got 3.0"),
        ({"mode": "median"}, r"merge.yaml:\d+: mode: 'median' is none of sum, mean"),
    ],
)
def test_parameters(parameters: dict, message: str, write, llamas: list[str], tmp_path: Path) -> None:
    with pytest.raises(UserError, match=message):
        plan(yaml_of(tmp_path, llamas, f"{write(BLEND)}:blend", **parameters))


def test_a_parameter_without_a_default_must_be_set(write, llamas: list[str], tmp_path: Path) -> None:
    name = write(BLEND.replace(" = 1.0,", ","))
    with pytest.raises(UserError, match=r"`strength` is not set for .*:blend .*: how far to go"):
        plan(yaml_of(tmp_path, llamas, f"{name}:blend"))


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("def own(models): return models[0]", "is not decorated with @merge_method"),
        ("@merge_method\ndef own(models, *, w): ...", "`w` has no type"),
        ("@merge_method\ndef own(models, *, w: dict): ...", "`w` has a type that no YAML sets"),
        ("@merge_method\ndef own(models, *, w: Sequence[float] = 1.0): ...", r"`w` has one value a model; .*\(1.0,\)"),
        ("@merge_method\ndef own(models, *, w: float = 'a'): ...", "`w`: default: expected a number, got 'a'"),
        ("@merge_method\ndef own(models, w: float): ...", r"positional arguments are \(models, w\)"),
        ("@merge_method\ndef own(models, **w): ...", r"positional arguments are \(models, w\)"),
        ("@merge_method\ndef own(models, *, w: 'Nothing'): ...", "annotations cannot be read: NameError"),
        ("@merge_method(min_models=3)\ndef own(models): ...", "needs at least 3 models; got 2"),
        ("raise ValueError('mine')", "importing `.*` failed: ValueError: mine"),
        ("other = 1", "has no `own`"),
        ("@merge_method\ndef own(models): return models[0][0]", r"returned a float32 tensor of shape .*; expected .*"),
        ("@merge_method\ndef own(models): return models[0].double()", "returned a float64 tensor"),
        ("@merge_method\ndef own(models): return None", "tensor '.*': .*:own returned a NoneType; expected a float32"),
        ("@merge_method\ndef own(models): return models[5]", r"own raised IndexError: .* \(own_.*.py:\d+\)"),
        ("@merge_method\ndef own(models): return models[0] / 0", "the result has NaN or infinite numbers"),
    ],
)
def test_mistakes_are_said_as_the_users(code: str, message: str, write, llamas: list[str], tmp_path: Path) -> None:
    config = {"merge_method": f"{write(code)}:own", "models": [{"model": path} for path in llamas[1:]]}
    file = tmp_path / "merge.yaml"
    file.write_text(yaml.safe_dump(config))
    with pytest.raises(UserError, match=message) as caught:
        merge(file, tmp_path / "out", progress=False)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_a_missing_module_says_where_was_looked(llamas: list[str], tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"merge.yaml:1: merge_method: no module named `nowhere`.*YAML's folder"):
        plan(yaml_of(tmp_path, llamas, "nowhere:own"))


def test_a_namesake_imported_from_elsewhere_is_refused(write, llamas: list[str], tmp_path: Path) -> None:
    name = write(BLEND)
    plan(yaml_of(tmp_path, llamas, f"{name}:blend"))
    other = tmp_path / "other"
    other.mkdir()
    (other / f"{name}.py").write_text(HEAD + BLEND)
    with pytest.raises(UserError, match=f"`{name}` was imported from .*; rename one of the two"):
        plan(yaml_of(other, llamas, f"{name}:blend"))


def install(folder: Path, name: str, value: str) -> None:
    """What pip leaves of a package that has one entry point."""
    record = folder / f"{name}_package-1.0.dist-info"
    record.mkdir()
    (record / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}-package\nVersion: 1.0\n")
    (record / "entry_points.txt").write_text(f"[burnish.merge_methods]\n{name} = {value}\n")


def test_an_installed_packages_method(write, llamas: list[str], tmp_path: Path) -> None:
    install(tmp_path, "blend_of_mine", f"{write(BLEND)}:blend")
    sys.path.insert(0, str(tmp_path))
    row = next(row for row in table() if row["method"] == "blend_of_mine")
    assert row["settings"] == "weight, lambda=1.0, strength=1.0, mode=sum"
    assert dict(plan(yaml_of(tmp_path, llamas, "blend_of_mine")).describe())["method"] == "blend_of_mine (mine)"
    with pytest.raises(UserError, match="unknown method 'blend_of_mime'; did you mean `blend_of_mine`"):
        get("blend_of_mime")


def test_installed_methods_that_cannot_be_used(write, llamas: list[str], tmp_path: Path) -> None:
    install(tmp_path, "ties", f"{write(BLEND)}:blend")
    install(tmp_path, "broken", f"{write('raise ValueError(1)')}:blend")
    sys.path.insert(0, str(tmp_path))
    with pytest.raises(UserError, match=r"'ties' is a built-in method, and .*:blend is installed under the same"):
        plan(yaml_of(tmp_path, llamas, "ties"))
    with pytest.raises(UserError, match=r"broken .* cannot be loaded: ValueError: 1"):
        get("broken")
    said = {row["method"]: row["settings"] for row in table()}
    assert said["broken"].startswith("cannot be used: merge_method: broken")
    assert get("linear").name == "linear"


def parameter_of(write, folder: Path, hint: str):
    """The parameter `w` of a function of one argument with that annotation."""
    code = f"import annotated_types\n@merge_method\ndef own(models, *, w: {hint}): return w * models[0]"
    return find(f"{write(code)}:own", folder).parameters["w"]


@pytest.mark.parametrize(
    ("hint", "allowed", "refused", "words"),
    [
        ("Annotated[float, Field(gt=0, lt=1)]", 0.5, (-5, 0, 1), "greater than 0 and less than 1"),
        ("Annotated[float, Field(gt=0, le=1)]", 1, (0, 1.5), "greater than 0 and of 1 or less"),
        ("Annotated[float, Field(ge=0, lt=1)]", 0, (-1, 1), "of 0 or more and less than 1"),
        ("Annotated[int, Field(gt=0)]", 1, (0,), "greater than 0"),
        (
            "Annotated[float | None, annotated_types.Interval(gt=0, le=1)]",
            None,
            (0,),
            "greater than 0 and of 1 or less",
        ),
        ("Annotated[float, Field(ge=0, le=1)]", 1, (2,), "from 0 to 1"),
    ],
)
def test_every_bound_holds(hint: str, allowed: float, refused: tuple, words: str, write, tmp_path: Path) -> None:
    parameter = parameter_of(write, tmp_path, hint)
    assert parameter.parse("w", allowed) == allowed
    for value in refused:
        with pytest.raises(UserError, match=f"w: expected a .*number {words}, got {value}"):
            parameter.parse("w", value)


@pytest.mark.parametrize(
    ("hint", "named"),
    [
        ("Annotated[int, Field(gt=0, multiple_of=2)]", r"MultipleOf\(multiple_of=2\)"),
        ("Annotated[str, Field(pattern='a')]", "pattern='a'"),
        ("Annotated[str, Field(min_length=2)]", r"MinLen\(min_length=2\)"),
        ("Annotated[Sequence[float], Field(max_length=2)]", r"MaxLen\(max_length=2\)"),
        ("Annotated[float, annotated_types.Predicate(abs)]", "Predicate"),
        ("Annotated[str, Field(ge=1)]", "bounds hold for numbers only"),
        ("Annotated[Literal['a', 'b'], Field(lt=1)]", "bounds hold for numbers only"),
    ],
)
def test_a_constraint_that_is_not_understood_is_refused(hint: str, named: str, write, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=f"`w`.*{named}") as caught:
        parameter_of(write, tmp_path, hint)
    assert "\n" not in str(caught.value)


def test_two_packages_with_one_name_are_refused(write, tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    module = write(BLEND)
    for folder in (first, second):
        folder.mkdir()
        install(folder, "contested", f"{module}:blend")
    sys.path[:0] = [str(first), str(second), str(tmp_path)]
    assert find("contested").name == "contested", "one distribution found twice is one package"
    (second / "contested_package-1.0.dist-info").rename(second / "rival-2.0.dist-info")
    (second / "rival-2.0.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: rival\nVersion: 2.0\n")
    both = "`contested` is claimed by the packages contested-package 1.0 and rival 2.0; uninstall one"
    with pytest.raises(UserError, match=both):
        find("contested")
    assert next(row for row in table() if row["method"] == "contested")["settings"].endswith(both)


def test_a_file_edited_since_its_import_is_refused(write, llamas: list[str], tmp_path: Path) -> None:
    name = write(BLEND)
    file = yaml_of(tmp_path, llamas, f"{name}:blend")
    planned = plan(file)
    same = plan(file).fingerprint
    write(BLEND.replace("base + strength", "base - 2 * strength"), name)
    assert planned.fingerprint == same, "the function that runs is the one that was imported"
    with pytest.raises(UserError, match=rf"{name}.py has changed since it was imported; restart the process") as caught:
        plan(file)
    assert "\n" not in str(caught.value)
    importlib.reload(sys.modules[name])
    assert plan(file).fingerprint != same
    (tmp_path / f"{name}.py").unlink()
    with pytest.raises(UserError, match="has changed since it was imported"):
        plan(file)


@pytest.mark.parametrize("order", ["@merge_method\n@torch.no_grad()", "@torch.no_grad()\n@merge_method"])
def test_the_file_is_the_functions_not_another_decorators(order: str, write, tmp_path: Path) -> None:
    name = write(f"{order}\ndef own(models): return models[0]")
    method = find(f"{name}:own", tmp_path)
    assert method.reference == f"{name}.py"
    assert method.source is not None
    assert method.source.path.samefile(tmp_path / f"{name}.py")


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        ({"min_models": 0}, "min_models is 0; a merge method takes at least 1 model besides the base"),
        ({"min_models": 2, "max_models": 1}, "max_models is 1, less than min_models, 2"),
    ],
)
def test_limits_that_no_merge_meets_are_refused(limits: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        merge_method(min_models=limits["min_models"], max_models=limits.get("max_models"))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_function_may_work_in_place(dtype: torch.dtype, write, tmp_path: Path) -> None:
    name = write(
        """
        @merge_method
        def own(base: Tensor, models: list[Tensor]) -> Tensor:
            base.zero_()
            total = models.pop(0).mul_(2.0)
            while models:
                total.add_(models.pop(0))
            return total
        """
    )
    base, model = torch.ones(3, dtype=dtype), torch.full((3,), 5.0, dtype=dtype)
    # The model is listed twice, as a YAML may.
    result = find(f"{name}:own", tmp_path)(base, [model, model], model_parameters={}, parameters={})
    assert result.tolist() == [15.0] * 3
    assert base.tolist() == [1.0] * 3
    assert model.tolist() == [5.0] * 3


def test_inputs_reshaped_in_place_do_not_excuse_the_result(write, tmp_path: Path) -> None:
    name = write("@merge_method\ndef own(models): return models[0].t_()")
    with pytest.raises(UserError, match=r"returned a float32 tensor of shape \(3, 2\) .*; expected .* \(2, 3\)"):
        find(f"{name}:own", tmp_path)(None, [torch.ones(2, 3)], model_parameters={}, parameters={})
