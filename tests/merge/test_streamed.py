"""Folders that are written tensor by tensor: whole or absent, converted by tiles, refused where a number is none."""

from pathlib import Path

import pytest
import torch
import transformers

from burnish.core.errors import UserError
from burnish.merge import streamed
from burnish.merge.safetensors_file import read_header
from burnish.merge.sources import Source
from burnish.merge.streamed import Inputs, made_from, new_folder, write_shards

from .checkpoints import family, plain, tensors_of


def test_shards_conversion_and_index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In tiles that end amid a row; transformers loads what comes out."""
    monkeypatch.setattr(streamed, "TILE", 1000)
    model = family(tmp_path, "llama", 1)[0]
    inputs, given = Inputs(), read_header(model / "model.safetensors")
    tensors = [inputs.written_as(name, Source(info), "bfloat16") for name, info in given.items()]
    with new_folder(tmp_path / "out") as folder:
        write_shards(folder, tensors, shard_size=20_000, progress=False)
        (folder / "config.json").write_bytes((model / "config.json").read_bytes())
    inputs.close()
    assert len(list((tmp_path / "out").glob("*.safetensors"))) > 1
    expected = tensors_of(model)
    loaded = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "out").state_dict()
    for name, tensor in expected.items():
        assert torch.equal(loaded[name].bfloat16(), tensor.bfloat16())


def test_nothing_is_left_of_a_failure_or_a_kill(tmp_path: Path) -> None:
    (tmp_path / ".out.merging").mkdir()
    (tmp_path / ".out.merging/half").write_text("of a killed job")
    with pytest.raises(RuntimeError), new_folder(tmp_path / "out") as folder:
        assert not list(folder.iterdir())
        (folder / "some").write_text("bytes")
        raise RuntimeError("mid-way")
    assert list(tmp_path.iterdir()) == []
    with new_folder(tmp_path / "out") as folder:
        (folder / "some").write_text("bytes")
    with pytest.raises(UserError, match="exists already"), new_folder(tmp_path / "out"):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_numbers_that_are_none_are_named(tmp_path: Path) -> None:
    folder = plain(tmp_path / "sick", {"a.weight": torch.tensor([1.0, float("nan")])})
    inputs = Inputs()
    sick = inputs.written_as("a", Source(read_header(folder / "model.safetensors")["a.weight"]))
    with pytest.raises(UserError, match=r"tensor 'a.weight' has NaN"):
        write_shards(tmp_path, [sick], shard_size=100, progress=False)
    inputs.close()
    wide = made_from(lambda: torch.tensor([1e6]), "b", "float16", (1,))
    with pytest.raises(UserError, match="tensor 'b': the result has NaN or infinite numbers"):
        write_shards(tmp_path, [wide], shard_size=100, progress=False)
