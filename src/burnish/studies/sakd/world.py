"""Worlds of the sakd study: the sets of samples, a teacher, what a student starts from. One file set a world and kind.

Of clips: eight motions (:mod:`burnish.testbeds.clips`), and nets of three 3-D convolutions. Of pictures: MNIST, and
vision transformers. The teacher learns from four times as many samples as a student gets (where these are three times
as many, from a third more than they), none of them a student's: one that knows nothing more cannot teach.

A student of clips begins with a body that has learnt four other motions, as the paper's begin with weights of another
data set: from random weights so small a budget is over before it has begun to see motion (with a long tail it stayed at
.25 whatever it was taught), and arms would differ by when that happens.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int64, UInt8
from safetensors.numpy import load_file as load_arrays
from safetensors.numpy import save_file as save_arrays
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from burnish.core.cells import Record
from burnish.core.files import folder_atomic, write_atomic
from burnish.core.parallel import one_thread
from burnish.distill.looks import Look
from burnish.distill.models import Classifier
from burnish.distill.records import Clips
from burnish.testbeds import clips as motions
from burnish.testbeds.clip_models import (
    MIDDLE,
    FrameNet,
    MotionNet,
    Pixels,
    accuracy,
    as_input,
    seeded,
    teach_labels,
)
from burnish.testbeds.data import load_mnist
from burnish.testbeds.real_clips import real_look

Kind = Literal["clips", "pictures"]
COPIES, SOURCES = 0.85, 24
"""Of ``duplicates``: this share of the samples shows one of so many scenes again, under noise of its own."""
CROWD = 3
"""``duplicates`` and ``long tail`` have so many times as many samples: in fewer there is too little to tell apart."""
TAIL = 50.0
"""Of ``long tail``: how much more often the most frequent class is there than the rarest."""
DIGITS = tuple(map(str, range(10)))


class WorldDesign(NamedTuple):
    """What a size spends on a world.

    Attributes:
        samples: a student's, :data:`CROWD` times as many where they are duplicates or a long tail.
        times: the teacher's, over a student's.
        validation: samples on which temperature and weights are chosen.
        tests: of clips; of pictures what MNIST has left.
        side: pixels of a clip's side, coded at 32.
        student: width of its net; in pictures a third of it is the width of a head.
        teacher: likewise.
        steps: of the teacher's training, batches of 16.
        real: emoji and stamps over films instead of plain shapes.
    """

    samples: int = 240
    times: int = 4
    validation: int = 300
    tests: int = 600
    side: int = 16
    student: int = 8
    teacher: int = 28
    steps: int = 400
    real: bool = False


class WorldJob(NamedTuple):
    """A world to make: its seed, of what, how large, and the folder of all worlds."""

    world: int
    kind: Kind
    design: WorldDesign
    folder: Path

    @property
    def path(self) -> Path:
        """The world's own folder."""
        return self.folder / f"{self.world}-{self.kind}"


class Facts(Record):
    """What is known of a world before any student."""

    teacher: float
    """Accuracy on the test samples."""
    single_frame: float | None
    """Of a net that learnt from a single frame of each of the teacher's clips; none of pictures."""
    seconds: float


@dataclass(frozen=True)
class World:
    """A world, loaded.

    Attributes:
        sets: ``clean``, ``validation``, ``test``, and of clips ``duplicates`` and ``long tail``.
        teacher: trained.
        facts: of it.
    """

    job: WorldJob
    sets: dict[str, Clips]
    teacher: Classifier
    facts: Facts

    def student(self) -> Classifier:
        """A student before its training, the same at each call."""
        if self.job.kind == "pictures":
            return classifier(new_reader(self.job.design.student, self.job.world))
        net = seeded(lambda: MotionNet(self.job.design.student, len(motions.MOTIONS)), self.job.world)
        net.body.load_state_dict(load_file(self.job.path / "start.safetensors"))
        return classifier(net)


def facts_file(job: WorldJob) -> Path:
    """The file that is there once a world is made."""
    return job.path / "facts.json"


def make_world(job: WorldJob) -> None:
    """Draw the samples, train the teacher, write both."""
    with one_thread(), folder_atomic(job.path) as work:
        started = time.process_time()
        facts = _make_clips(job, work) if job.kind == "clips" else _make_pictures(job, work)
        whole = facts.model_copy(update={"seconds": time.process_time() - started})
        write_atomic(work / "facts.json", whole.model_dump_json())


def load_world(job: WorldJob) -> World:
    """A world that was made."""
    arrays = load_arrays(job.path / "samples.safetensors")
    names = sorted({name.rpartition("/")[0] for name in arrays})
    sets = {name: as_clips(arrays[f"{name}/pixels"], arrays[f"{name}/labels"]) for name in names}
    net: Any
    if job.kind == "pictures":
        net = new_reader(job.design.teacher, job.world)
    else:
        net = MotionNet(job.design.teacher, len(motions.MOTIONS))
    net.load_state_dict(load_file(job.path / "teacher.safetensors"))
    facts = Facts.model_validate_json(facts_file(job).read_bytes())
    return World(job, sets, classifier(net.eval()), facts)


def as_clips(pixels: Pixels, labels: Int64[np.ndarray, " samples"]) -> Clips:
    """Samples named by their places."""
    return Clips(pixels, labels, tuple(f"{place:05d}" for place in range(len(labels))))


def classifier(net: Any) -> Classifier:
    """A net of this study as the product takes it."""
    if isinstance(net, MotionNet):
        look = Look(frames=motions.FRAMES, mean=(MIDDLE,) * 3, std=(1.0,) * 3)
        return Classifier(net, net.head, motions.MOTIONS, look)
    return Classifier(net, net.classifier, DIGITS, Look(video=False, frames=1, size=(28, 28), channels=1))


def new_reader(width: int, seed: int) -> nn.Module:
    """An untrained vision transformer for digits: three blocks over 4 x 4 patches, heads as wide as a third."""
    from transformers import ViTConfig, ViTForImageClassification

    hidden = 3 * width
    config = ViTConfig(
        image_size=28,
        patch_size=7,
        num_channels=1,
        hidden_size=hidden,
        num_hidden_layers=3,
        num_attention_heads=3,
        intermediate_size=2 * hidden,
        initializer_range=0.1,
        num_labels=len(DIGITS),
    )
    net: nn.Module = seeded(lambda: ViTForImageClassification(config), seed)
    return net


# Clips


def _make_clips(job: WorldJob, work: Path) -> Facts:
    design, look = job.design, real_look() if job.design.real else motions.PLAIN

    def shown(scenes: motions.Scenes, name: int) -> tuple[Pixels, Int64[np.ndarray, " samples"]]:
        drawn = motions.coded(motions.render(scenes, np.random.default_rng([job.world, name, 1]), look))
        return smaller(drawn, design.side), scenes.labels

    def scenes_of(labels: Int64[np.ndarray, " samples"], name: int, names: Any = motions.MOTIONS) -> motions.Scenes:
        return motions.draw_scenes(labels, np.random.default_rng([job.world, name]), names)

    def balanced(count: int, classes: int = len(motions.MOTIONS)) -> Int64[np.ndarray, " samples"]:
        return np.arange(count) % classes

    rng = np.random.default_rng([job.world, 99])
    many = CROWD * design.samples
    crowd = scenes_of(balanced(many), 1)
    sets = {
        "clean": shown(scenes_of(balanced(design.samples), 0), 0),
        "duplicates": shown(crowd.take(duplicated(many, rng)), 1),
        "long tail": shown(scenes_of(long_tailed(many, len(motions.MOTIONS), rng), 2), 2),
        "validation": shown(scenes_of(balanced(design.validation), 3), 3),
        "test": shown(scenes_of(balanced(design.tests), 4), 4),
    }
    pixels, labels = shown(scenes_of(balanced(design.samples * design.times), 5), 5)
    tests, truth = sets["test"]
    teacher = seeded(lambda: MotionNet(design.teacher, len(motions.MOTIONS)), job.world + 1)
    teach_labels(teacher, as_input(pixels), labels, design.steps, 6e-3, job.world)
    _write(work, sets, teacher)

    other, other_labels = shown(scenes_of(balanced(design.samples * 2, len(motions.ASLANT)), 6, motions.ASLANT), 6)
    start = seeded(lambda: MotionNet(design.student, len(motions.ASLANT)), job.world)
    teach_labels(start, as_input(other), other_labels, max(1, design.steps // 2), 6e-3, job.world)
    save_file(start.body.state_dict(), work / "start.safetensors")

    frames = seeded(lambda: FrameNet(design.teacher, len(motions.MOTIONS)), job.world)
    teach_labels(frames, _one_frame(pixels, rng), labels, design.steps, 6e-3, job.world)
    return Facts(
        teacher=accuracy(teacher, as_input(tests), truth),
        single_frame=accuracy(frames, _one_frame(tests, rng), truth),
        seconds=0.0,
    )


def smaller(pixels: Pixels, side: int) -> UInt8[np.ndarray, "samples time side side 3"]:
    """Means over squares."""
    count, frames, before = pixels.shape[:3]
    each = before // side
    squares = pixels.reshape(count, frames, side, each, side, each, 3)
    found: np.ndarray = squares.mean((3, 5), dtype=np.float32).round().astype(np.uint8)
    return found


def duplicated(samples: int, rng: np.random.Generator) -> Int64[np.ndarray, " samples"]:
    """Which scene each sample shows: most of them one of a few."""
    few = rng.permutation(samples)[:SOURCES]
    places = np.arange(samples)
    copied = rng.permutation(samples)[: round(COPIES * samples)]
    places[copied] = rng.choice(few, len(copied))
    return places


def long_tailed(samples: int, classes: int, rng: np.random.Generator) -> Int64[np.ndarray, " samples"]:
    """Labels whose frequencies fall geometrically, classes in a random order; each is there once at least."""
    shares = TAIL ** (-np.arange(classes) / (classes - 1))
    counts = np.maximum(1, np.floor(shares / shares.sum() * samples)).astype(int)
    counts[0] += samples - counts.sum()
    return np.repeat(rng.permutation(classes), counts)


def _one_frame(pixels: Pixels, rng: np.random.Generator) -> Float[Tensor, "samples 3 height width"]:
    """Of each clip a random frame."""
    which = rng.integers(0, pixels.shape[1], len(pixels))
    return as_input(pixels[np.arange(len(pixels)), which][:, None])[:, 0]


# Pictures


def _make_pictures(job: WorldJob, work: Path) -> Facts:
    design, digits = job.design, load_mnist()
    order = np.random.default_rng([job.world, 98]).permutation(len(digits.labels))
    grey = np.repeat((digits.pixels[order, None, :, :, None] * 255).round().astype(np.uint8), 3, -1)
    labels, ends = digits.labels[order], np.cumsum([design.samples, design.validation, design.samples * design.times])
    parts = [slice(start, end) for start, end in zip((0, *ends), (*ends, len(labels)), strict=True)]
    own, validation, teachers, test = ((grey[part], labels[part]) for part in parts)
    sets = {"clean": own, "validation": validation, "test": test}
    teacher = new_reader(design.teacher, job.world + 1)
    teach_labels(teacher, _as_digits(teachers[0]), teachers[1], round(1.5 * design.steps), 2e-3, job.world)
    _write(work, sets, teacher)
    return Facts(teacher=accuracy(teacher, _as_digits(test[0]), test[1]), single_frame=None, seconds=0.0)


def _as_digits(pixels: Pixels) -> Float[Tensor, "samples 1 28 28"]:
    return torch.from_numpy(pixels[:, 0, None, :, :, 0]) / 255


def _write(work: Path, sets: dict[str, tuple[Pixels, Int64[np.ndarray, " samples"]]], teacher: nn.Module) -> None:
    arrays: dict[str, np.ndarray] = {}
    for name, (pixels, labels) in sets.items():
        arrays |= {f"{name}/pixels": np.ascontiguousarray(pixels), f"{name}/labels": labels}
    save_arrays(arrays, work / "samples.safetensors")
    save_file(teacher.state_dict(), work / "teacher.safetensors")
