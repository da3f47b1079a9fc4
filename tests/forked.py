"""Child processes of tests: forked from one server, which has imported what is heavy and nothing of the tests.

A process has one such server, and what it is to import counts until its first child starts: so there is one list.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from multiprocessing import forkserver

from burnish.core.method import all_methods

HEAVY = (
    "torch._dynamo",
    "datasets",
    "kornia.augmentation",
    "matplotlib.backends.backend_svg",
    "matplotlib.projections",
    "openai.types.chat",
    "peft",
    "safetensors.torch",
    "sb3_contrib",
    "scipy.io",
    "scipy.stats",
    "sklearn.linear_model",
    "stable_baselines3",
    "transformers.models.bert.modeling_bert",
    "transformers.models.clip.modeling_clip",
    "transformers.models.llama.modeling_llama",
    "transformers.models.llava.modeling_llava",
    "transformers.models.qwen3.modeling_qwen3",
    "transformers.models.resnet.modeling_resnet",
    "transformers.models.videomae.modeling_videomae",
    "transformers.models.vit.modeling_vit",
    "trl.trainer.dpo_trainer",
    "trl.trainer.grpo_trainer",
    "trl.trainer.sft_trainer",
    "burnish.api",
    "burnish.core.trainer",
)
LOOPS = [method.run.partition(":")[0] for method in all_methods()[0] if isinstance(method.run, str)]

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload([*HEAVY, *LOOPS, "tests.frozen"])


def in_child(work: Callable[..., object], *arguments: object) -> None:
    """Call a function of a module in a child, where shapes are not checked; what it raises is on the error stream."""
    process = CONTEXT.Process(target=work, args=arguments)
    process.start()
    process.join()
    assert process.exitcode == 0, f"{work.__name__}{arguments}: exit status {process.exitcode}"


def start_server() -> None:
    """Start it now, where the code under test would start one with a shorter list."""
    forkserver.ensure_running()
