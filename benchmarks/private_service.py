"""The encrypted service under load on loopback: latency and throughput, against the bare circuit in the same run.

    python benchmarks/private_service.py [--size quick|full]

One server process with one worker, clients that ask one question after another. The floor is the same circuit computed
in this process: what HTTP, the queue, reading and writing of ciphertexts and the client's own encryption add to it is
the price of the service. Also what a server answers to others while it computes.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import platform
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import httpx
import numpy as np

from burnish.private.bundle import ClientModel, save_bundle
from burnish.private.encryption.choose import make_evaluator
from burnish.private.heads import heads_of
from burnish.private.service.client import ServiceClient
from burnish.private.service.flooding import flooded
from burnish.private.service.running import Settings, new_keys, prepare

SIZES = {
    # classes, prompts, width, eps, texts a question, clients, questions of each
    "quick": [(2, 5, 384, 0.25, 1, 2, 3)],
    "full": [
        (2, 5, 384, 0.25, 1, 1, 10),
        (2, 5, 384, 0.25, 1, 4, 10),
        (2, 5, 384, 2**-6, 1, 2, 4),
        (4, 8, 384, 2**-6, 1, 1, 3),
    ],
}


@contextlib.contextmanager
def served(bundle: Path, settings: Settings, folder: Path) -> Iterator[str]:
    """A server in a process of its own, as `burnish private serve` starts it; its address."""
    code = (
        "import json, sys; from pathlib import Path\n"
        "from burnish.private.service.running import Settings, serve_bundle\n"
        "from burnish.private.service.sessions import Limits\n"
        "bundle, store, questions, rate = sys.argv[1:]\n"
        "settings = Settings(questions=int(questions), limits=Limits(questions_per_minute=int(rate)))\n"
        "serve_bundle(Path(bundle), Path(store), '127.0.0.1', 0, None, settings)\n"
    )
    line = [bundle, folder / "store", settings.questions, settings.limits.questions_per_minute]
    process = subprocess.Popen([sys.executable, "-c", code, *map(str, line)], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield process.stdout.readline().split(" at ")[1].split()[0]
    finally:
        process.terminate()
        process.wait()


def measure(
    classes: int, prompts: int, width: int, eps: float, questions: int, clients: int, each: int, folder: Path
) -> dict[str, object]:
    rng = np.random.default_rng(0)
    labels = tuple(f"class {number}" for number in range(classes))
    heads = heads_of(rng.normal(size=(prompts, classes, width)), np.zeros((prompts, classes)), labels)
    bundle = save_bundle(folder / "service", heads, ClientModel("none", "mean", 8, ("{text}",) * prompts, labels, eps))
    settings = Settings(questions=questions)
    generous = replace(settings, limits=replace(settings.limits, questions_per_minute=100_000))
    texts = rng.normal(size=(questions, prompts, width))
    texts /= np.linalg.norm(texts, axis=2, keepdims=True)
    taken: list[float] = []
    others: list[float] = []
    with served(bundle, generous, folder) as url:
        opened = []
        began = time.perf_counter()
        for number in range(clients):
            client = ServiceClient(url, new_keys(url, folder / f"keys {number}"))
            client.register()
            opened.append(client)
        registering = (time.perf_counter() - began) / clients
        for client in opened:
            client.ask(texts)  # the first question encodes what the server remembers

        def ask(client: ServiceClient) -> None:
            for _ in range(each):
                start = time.perf_counter()
                client.ask(texts)
                taken.append(time.perf_counter() - start)

        threads = [threading.Thread(target=ask, args=(client,)) for client in opened]
        began = time.perf_counter()
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            start = time.perf_counter()
            httpx.get(url + "/v1/service").raise_for_status()
            others.append(time.perf_counter() - start)
            time.sleep(0.1)
        whole = time.perf_counter() - began
        for client in opened:
            client.close()
    offer, job = prepare(bundle, settings)
    keys = (folder / "keys 0" / "evaluation.keys").read_bytes()
    evaluator = make_evaluator(offer.plan.parameters, keys, "seal")
    own = opened[0]._keys.client
    parts = [own.encrypt(part) for part in offer.plan.encode(texts)]
    floor = []
    for _ in range(1 + each):
        start = time.perf_counter()
        flooded(evaluator, job.circuit.run(evaluator, parts), job.flood)
        floor.append(time.perf_counter() - start)
    bare = statistics.median(floor[1:])
    asked = clients * each
    return {
        "classes": classes,
        "prompts": prompts,
        "eps": eps,
        "ring": offer.plan.parameters.ring,
        "levels": offer.plan.parameters.levels,
        "clients": clients,
        "questions": asked,
        "register_s": round(registering, 2),
        "keys_MB": round(len(keys) / 1e6),
        "question_kB": round(sum(len(own.save(part)) for part in parts) / 1e3),
        "answer_kB": round(offer.answer_bytes / 1e3),
        "flood_bits": round(job.flood.bits, 1),
        "median_s": round(statistics.median(taken), 3),
        "worst_s": round(max(taken), 3),
        "questions_per_s": round(asked / whole, 3),
        "circuit_s": round(bare, 3),
        "of_the_circuit": round(asked * bare / whole, 3),
        "others_wait_ms": round(1e3 * statistics.median(others), 1),
        "others_worst_ms": round(1e3 * max(others), 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", choices=sorted(SIZES), default="quick")
    arguments = parser.parse_args()
    print(json.dumps({"machine": platform.processor() or platform.machine(), "python": platform.python_version()}))
    for row in SIZES[arguments.size]:
        with tempfile.TemporaryDirectory() as folder:
            print(json.dumps(measure(*row, folder=Path(folder))), flush=True)


if __name__ == "__main__":
    main()
