"""The same arithmetic without encryption: for tests, and to plan a circuit before it is run.

Keeps what a ciphertext would keep (level, scale, parts), refuses what it would refuse, and carries beside each exact
number the error that CKKS would have made: drawn, slot by slot, from the noise of each operation. Nothing is secret.
"""

from __future__ import annotations

import json
import struct
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float

from burnish.core.errors import BurnishError, UserError
from burnish.private.encryption.noise import Noise
from burnish.private.encryption.parameters import Parameters
from burnish.private.encryption.slots import as_slots
from burnish.private.encryption.steps import at_step, outermost

Slots = Float[np.ndarray, " slots"]
Numbers = Float[np.ndarray, " numbers"]

MARGIN = 3.0
"""The largest error drawn over all slots, times this, bounds another draw's: the tails are Gaussian."""


@dataclass(frozen=True)
class Operation:
    """One kind of work, as costs differ: what is done, at which level, on how many parts, in which step of the plan."""

    kind: str
    level: int
    parts: int
    step: str


@dataclass
class Ledger:
    """What a circuit did: operations, rotations, and the ciphertexts that were alive at once.

    Attributes:
        counts: how often each operation was done.
        rotations: steps to the left that were asked for.
        hoisted: rotations that shared their costly part with an earlier one of the same ciphertext.
        live_bytes, peak_bytes: of ciphertexts, now and at most.
    """

    counts: Counter[Operation] = field(default_factory=Counter)
    rotations: set[int] = field(default_factory=set)
    hoisted: int = 0
    live_bytes: int = 0
    peak_bytes: int = 0

    def count(self, kind: str, level: int, parts: int = 2) -> None:
        """Note one operation, in the step that is open."""
        self.counts[Operation(kind, level, parts, outermost())] += 1

    def total(self, *kinds: str) -> int:
        """Operations of these kinds, at all levels."""
        return sum(number for operation, number in self.counts.items() if operation.kind in kinds)

    def hold(self, size: int) -> None:
        """Note a ciphertext of so many bytes that lives from now on."""
        self.live_bytes += size
        self.peak_bytes = max(self.peak_bytes, self.live_bytes)


class ClearCipher:
    """Stands where a ciphertext stands. Made and read by this module alone.

    Attributes:
        values: what would be in the slots, exactly.
        drift: what CKKS would have added to them.
        level: multiplications left.
        scale: what the numbers would be multiplied by.
        parts: 2, or 3 after a product that was not relinearised.
    """

    def __init__(
        self, ledger: Ledger, parameters: Parameters, values: Slots, drift: Slots, level: int, scale: float, parts: int
    ) -> None:
        self.values, self.drift = values, drift
        self.level, self.scale, self.parts = level, scale, parts
        self._ledger, self._size = ledger, parameters.ciphertext_bytes(level, parts)
        ledger.hold(self._size)

    def __del__(self) -> None:
        self._ledger.live_bytes -= self._size

    @property
    def noise(self) -> float:
        """Bound on the error of any slot, at high probability."""
        return MARGIN * float(np.abs(self.drift).max())


class ClearEvaluator:
    """The evaluator's verbs on plain numbers.

    Args:
        parameters: levels and scale to keep to.
        keys: what :meth:`ClearClient.evaluation_keys` made; without, every rotation is allowed and noted.

    Attributes:
        ledger: what was done so far.

    Raises:
        UserError: keys of other parameters.
    """

    def __init__(self, parameters: Parameters, keys: bytes | None = None) -> None:
        self.parameters = parameters
        self.ledger = Ledger()
        self._noise = Noise(parameters)
        self._rotations = None if keys is None else _read_keys(parameters, keys)

    def lacking(self, rotations: Sequence[int]) -> list[str]:
        given = self._rotations
        steps = sorted({number % self.parameters.slots for number in rotations} - {0})
        return [] if given is None else [f"a rotation by {number}" for number in steps if number not in given]

    def add(self, left: ClearCipher, right: ClearCipher) -> ClearCipher:
        return self._sum(left, right, 1.0)

    def subtract(self, left: ClearCipher, right: ClearCipher) -> ClearCipher:
        return self._sum(left, right, -1.0)

    def _sum(self, left: ClearCipher, right: ClearCipher, sign: float) -> ClearCipher:
        left, right = self._met(left, right)
        if not np.isclose(left.scale, right.scale, rtol=1e-9):
            raise BurnishError(at_step("add: one side was multiplied and not rescaled, the other was not"))
        self.ledger.count("add", left.level, parts := max(left.parts, right.parts))
        with np.errstate(over="ignore", invalid="ignore"):
            values, drift = left.values + sign * right.values, left.drift + sign * right.drift
        return self._made(values, drift, left.level, left.scale, parts)

    def negate(self, cipher: ClearCipher) -> ClearCipher:
        self.ledger.count("negate", cipher.level, cipher.parts)
        return self._made(-cipher.values, -cipher.drift, cipher.level, cipher.scale, cipher.parts)

    def add_plain(self, cipher: ClearCipher, values: Numbers | float) -> ClearCipher:
        plain = self._encoded(values, cipher.level)
        self.ledger.count("add_plain", cipher.level, cipher.parts)
        return self._made(cipher.values + plain, cipher.drift, cipher.level, cipher.scale, cipher.parts)

    def multiply_plain(self, cipher: ClearCipher, values: Numbers | float) -> ClearCipher:
        scale = self._doubled("multiply_plain", cipher)
        plain = self._encoded(values, cipher.level)
        if not np.any(np.rint(plain * cipher.scale)):
            raise BurnishError(at_step("multiply_plain: every number is zero: the result would hide nothing"))
        self.ledger.count("multiply_plain", cipher.level, cipher.parts)
        with np.errstate(over="ignore", invalid="ignore"):
            drift = cipher.drift * plain + cipher.values * self._noise.encoding(np.ndim(values) > 0)
            return self._made(cipher.values * plain, drift, cipher.level, scale, cipher.parts)

    def multiply(self, left: ClearCipher, right: ClearCipher, *, relinearise: bool = True) -> ClearCipher:
        square = left is right
        left, right = (left, left) if square else self._met(left, right)
        if left.parts != 2 or right.parts != 2:
            raise BurnishError(at_step("multiply: a product was not relinearised; relinearise it first"))
        self._doubled("multiply", right)
        scale = self._doubled("multiply", left)
        self.ledger.count("square" if square else "multiply", left.level)
        with np.errstate(over="ignore", invalid="ignore"):  # numbers beyond the bound; `_made` sees to them
            drift = left.drift * right.values + right.drift * left.values + left.drift * right.drift
            product = self._made(left.values * right.values, drift, left.level, scale, 3)
        return self.relinearise(product) if relinearise else product

    def relinearise(self, cipher: ClearCipher) -> ClearCipher:
        if cipher.parts == 2:
            return cipher
        self.ledger.count("relinearise", cipher.level, 3)
        drift = cipher.drift + self._noise.key_switch(cipher.scale)
        return self._made(cipher.values, drift, cipher.level, cipher.scale, 2)

    def rescale(self, cipher: ClearCipher) -> ClearCipher:
        if cipher.scale <= 2.0**self.parameters.scale_bits:
            raise BurnishError(at_step("rescale: nothing was multiplied since the last time"))
        self.ledger.count("rescale", cipher.level, cipher.parts)
        scale = 2.0**self.parameters.scale_bits
        return self._made(cipher.values, cipher.drift + self._noise.rounding(), cipher.level - 1, scale, cipher.parts)

    def drop(self, cipher: ClearCipher, level: int) -> ClearCipher:
        check_drop(cipher.level, level)
        if level == cipher.level:
            return cipher
        if cipher.scale > 2.0**self.parameters.scale_bits:
            raise BurnishError(at_step("drop: rescale the product first"))
        self.ledger.count("multiply_plain", level + 1, cipher.parts)
        self.ledger.count("rescale", level + 1, cipher.parts)
        return self._made(cipher.values, cipher.drift + self._noise.rounding(), level, cipher.scale, cipher.parts)

    def rotate(self, cipher: ClearCipher, steps: int) -> ClearCipher:
        return self.rotate_many(cipher, [steps])[0]

    def rotate_many(self, cipher: ClearCipher, steps: Sequence[int]) -> list[ClearCipher]:
        if cipher.parts != 2:
            raise BurnishError(at_step("rotate: a product was not relinearised; relinearise it first"))
        turned, costly = [], 0
        for number in (number % self.parameters.slots for number in steps):
            if number and self._rotations is not None and number not in self._rotations:
                raise BurnishError(at_step(f"rotate: there is no key for a rotation by {number}"))
            if number:
                self.ledger.count("rotate", cipher.level)
                self.ledger.rotations.add(number)
                costly += 1
            drift = np.roll(cipher.drift, -number) + (self._noise.key_switch(cipher.scale) if number else 0.0)
            turned.append(self._made(np.roll(cipher.values, -number), drift, cipher.level, cipher.scale, 2))
        self.ledger.hoisted += max(0, costly - 1)
        return turned

    def save(self, cipher: ClearCipher) -> bytes:
        return _write(self.parameters, cipher)

    def load(self, data: bytes) -> ClearCipher:
        return _read(self.ledger, self.parameters, data)

    def _met(self, left: ClearCipher, right: ClearCipher) -> tuple[ClearCipher, ClearCipher]:
        level = min(left.level, right.level)
        return self.drop(left, level), self.drop(right, level)

    def _doubled(self, verb: str, cipher: ClearCipher) -> float:
        """The scale after a multiplication, where there is a level for it."""
        check_room(verb, cipher.level, doubled=cipher.scale > 2.0**self.parameters.scale_bits)
        return cipher.scale**2

    def _encoded(self, values: Numbers | float, level: int) -> Slots:
        if np.ndim(values):
            self.ledger.count("encode", level, 1)
        return as_slots(self.parameters, values)

    def _made(self, values: Slots, drift: Slots, level: int, scale: float, parts: int) -> ClearCipher:
        # Numbers larger than the modulus wrap round, and since a coefficient is a mean of slots, all slots are lost.
        bits = self.parameters.end_bits + level * self.parameters.scale_bits - 1
        largest = 2.0**bits / scale
        if not np.abs(values).mean() < largest:
            values, drift = self._noise.wrapped(largest), np.zeros_like(drift)
        return ClearCipher(self.ledger, self.parameters, values, drift, level, scale, parts)


def check_room(verb: str, level: int, *, doubled: bool) -> None:
    """What every back end asks before it multiplies.

    Raises:
        BurnishError: no level is left, or the last product was not rescaled.
    """
    if doubled:
        raise BurnishError(at_step(f"{verb}: the last product was not rescaled; rescale it first"))
    if level < 1:
        raise BurnishError(at_step(f"{verb}: no level is left; plan for more levels"))


def check_drop(level: int, wanted: int) -> None:
    """What every back end asks before it drops levels.

    Raises:
        BurnishError: there is no such level below.
    """
    if not 0 <= wanted <= level:
        raise BurnishError(at_step(f"drop: level {wanted} asked for, {level} left; plan for more levels"))


class ClearClient:
    """The client's verbs on plain numbers; its secret is empty."""

    def __init__(self, parameters: Parameters) -> None:
        self.parameters = parameters
        self._ledger = Ledger()
        self._noise = Noise(parameters, seed=1)

    def encrypt(self, values: Numbers, level: int | None = None) -> ClearCipher:
        level = self.parameters.levels if level is None else level
        check_drop(self.parameters.levels, level)
        scale = 2.0**self.parameters.scale_bits
        numbers = as_slots(self.parameters, values)
        return ClearCipher(self._ledger, self.parameters, numbers, self._noise.fresh(), level, scale, 2)

    def decrypt(self, cipher: ClearCipher) -> Slots:
        slots: Slots = cipher.values + cipher.drift
        return slots

    def evaluation_keys(self, rotations: Iterable[int]) -> bytes:
        steps = sorted({number % self.parameters.slots for number in rotations} - {0})
        return json.dumps({"parameters": self.parameters.to_json(), "rotations": steps}).encode()

    def save(self, cipher: ClearCipher) -> bytes:
        return _write(self.parameters, cipher)

    def load(self, data: bytes) -> ClearCipher:
        return _read(self._ledger, self.parameters, data)

    def save_secret(self) -> bytes:
        return json.dumps({"parameters": self.parameters.to_json()}).encode()

    @classmethod
    def from_secret(cls, secret: bytes) -> ClearClient:
        try:
            text = json.loads(secret)["parameters"]
        except (ValueError, KeyError, TypeError):
            raise UserError("secret key: not one of the back end `clear`; make one with keygen") from None
        return cls(Parameters.from_json(str(text)))


def _read_keys(parameters: Parameters, keys: bytes) -> set[int]:
    try:
        found = json.loads(keys)
        made_for, rotations = str(found["parameters"]), {int(number) for number in found["rotations"]}
    except (ValueError, KeyError, TypeError, RecursionError):
        raise UserError("keys: not evaluation keys of the back end `clear`; make them with keygen") from None
    if made_for != parameters.to_json():
        raise UserError("keys: made for other parameters; make them again for these")
    return rotations


_HEADER = struct.Struct("<16sidi")  # digest, level, scale, parts; then values and drift


def _write(parameters: Parameters, cipher: ClearCipher) -> bytes:
    header = _HEADER.pack(parameters.digest.encode(), cipher.level, cipher.scale, cipher.parts)
    return header + cipher.values.astype("<f8").tobytes() + cipher.drift.astype("<f8").tobytes()


def _read(ledger: Ledger, parameters: Parameters, data: bytes) -> ClearCipher:
    if len(data) != _HEADER.size + 16 * parameters.slots:
        raise UserError("ciphertext: of another length than these parameters make; ask the server for its own")
    digest, level, scale, parts = _HEADER.unpack_from(data)
    if digest != parameters.digest.encode():
        raise UserError("ciphertext: made for other parameters; ask the server for its own")
    single = 2.0**parameters.scale_bits
    numbers = np.frombuffer(data, "<f8", offset=_HEADER.size).astype(np.float64).reshape(2, -1)
    sound = 0 <= level <= parameters.levels and scale in (single, single**2) and parts in (2, 3)
    if not sound or not np.isfinite(numbers).all():
        raise UserError("ciphertext: damaged; send it again")
    return ClearCipher(ledger, parameters, numbers[0], numbers[1], level, scale, parts)
