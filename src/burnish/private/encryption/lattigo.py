"""CKKS by Lattigo 6, through the shared library in the wheel `orion-fhe`: an oracle, and the price of a bootstrap.

Never a service's back end: the library has one scheme and one secret key a process, numbers cross its boundary as
32-bit floats, and its ciphertexts cannot be written. It relinearises each product and has no modulus switch of its own,
so levels are dropped one by one. What it can do and SEAL cannot is bootstrap.
"""

from __future__ import annotations

import importlib.util
import weakref
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from jaxtyping import Float

from burnish.core.errors import BurnishError, UserError
from burnish.private.encryption.clear import check_drop, check_room
from burnish.private.encryption.parameters import SWITCH_BITS, Parameters
from burnish.private.encryption.slots import as_slots
from burnish.private.encryption.steps import at_step

Slots = Float[np.ndarray, " slots"]
Numbers = Float[np.ndarray, " numbers"]


def bindings() -> ModuleType:
    """The wheel's own ctypes module, without the rest of the package, which wants torchvision.

    Raises:
        UserError: not installed.
    """
    found = importlib.util.find_spec("orion")
    if found is None or found.origin is None:
        raise UserError("lattigo: orion-fhe is not installed; `pip install --no-deps orion-fhe` brings it")
    path = Path(found.origin).parent / "backend" / "lattigo" / "bindings.py"
    spec = importlib.util.spec_from_file_location("lattigo_bindings", path)
    if spec is None or spec.loader is None:
        raise UserError(f"lattigo: {path} is missing; install orion-fhe again")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class _Scheme:
    """What the bindings ask for the scheme's numbers."""

    def __init__(self, log_ring: int, bits: Sequence[int], switch: Sequence[int], scale_bits: int) -> None:
        self.get_logn = lambda: log_ring
        self.get_logq = lambda: list(bits)
        self.get_logp = lambda: list(switch)
        self.get_logscale = lambda: scale_bits
        self.get_hamming_weight = lambda: 192
        self.get_ringtype = lambda: "standard"
        self.get_keys_path = lambda: ""
        self.get_io_mode = lambda: "none"


class LattigoCipher:
    """A number that Lattigo knows a ciphertext by; given back when nobody holds it any more.

    Attributes:
        number: Lattigo's.
        doubled: multiplied and not rescaled; the library's own answer does not fit into its 64 bits then.
    """

    parts = 2

    def __init__(self, library: Any, number: int, doubled: bool, scale_bits: int) -> None:
        self._library, self.number, self.doubled = library, number, doubled
        self._scale_bits = scale_bits
        weakref.finalize(self, library.DeleteCiphertext, number)

    @property
    def level(self) -> int:
        """Multiplications left."""
        return int(self._library.GetCiphertextLevel(self.number))

    @property
    def scale(self) -> float:
        """What the numbers are multiplied by inside, about."""
        return 2.0 ** (self._scale_bits * (2 if self.doubled else 1))


class Lattigo:
    """Client and evaluator in one, since the library keeps the secret key itself.

    Args:
        parameters: ring and primes; the secret has 192 coefficients that are not zero, as bootstrapping wants.
        ring: instead of the parameters', for a bootstrap, whose own primes need a ring of 65,536 to be secure.

    Raises:
        UserError: orion-fhe is not installed.
    """

    def __init__(self, parameters: Parameters, ring: int | None = None) -> None:
        self.parameters = parameters
        self._log_ring = (ring or parameters.ring).bit_length() - 1
        self._slots = 1 << (self._log_ring - 1)
        library = bindings().LattigoLibrary()
        scheme = _Scheme(self._log_ring, parameters.prime_bits[:-1], [SWITCH_BITS], parameters.scale_bits)
        library.setup_bindings(scheme)
        for make in (
            library.NewKeyGenerator,
            library.GenerateSecretKey,
            library.GeneratePublicKey,
            library.GenerateRelinearizationKey,
            library.GenerateEvaluationKeys,
            library.NewEncoder,
            library.NewEncryptor,
            library.NewDecryptor,
            library.NewEvaluator,
        ):
            make()
        self._library = library
        self._primes = [int(prime) for prime in library.GetModuliChain()]

    def close(self) -> None:
        """Give the process's one scheme back."""
        self._library.DeleteScheme()

    def encrypt(self, values: Numbers, level: int | None = None) -> LattigoCipher:
        return self.encrypt_all(as_slots(self.parameters, values), self.parameters.levels if level is None else level)

    def encrypt_all(self, values: Slots, level: int) -> LattigoCipher:
        """As many numbers as the ring has slots, which may be a larger one than the parameters'."""
        plain = self._encoded(values, level, 1 << self.parameters.scale_bits)
        made = self._held(self._library.Encrypt(plain), doubled=False)
        self._library.DeletePlaintext(plain)
        return made

    def decrypt(self, cipher: LattigoCipher) -> Slots:
        plain = self._library.Decrypt(cipher.number)
        values = np.asarray(self._library.Decode(plain), dtype=np.float64)
        self._library.DeletePlaintext(plain)
        return values

    def lacking(self, rotations: Sequence[int]) -> list[str]:  # noqa: ARG002
        return []  # it has the secret key, and makes each key when it is first used

    def add(self, left: LattigoCipher, right: LattigoCipher) -> LattigoCipher:
        return self._made(self._library.AddCiphertextNew, left, right)

    def subtract(self, left: LattigoCipher, right: LattigoCipher) -> LattigoCipher:
        return self._made(self._library.SubCiphertextNew, left, right)

    def negate(self, cipher: LattigoCipher) -> LattigoCipher:
        return self._made(self._library.Negate, cipher)

    def add_plain(self, cipher: LattigoCipher, values: Numbers | float) -> LattigoCipher:
        if not np.ndim(values):
            return self._made(self._library.AddScalarNew, cipher, float(values))
        if cipher.doubled:
            raise BurnishError(at_step("add_plain: rescale the product first; the scale does not fit the library"))
        return self._with_plain(self._library.AddPlaintextNew, cipher, values, 1 << self.parameters.scale_bits, False)

    def multiply_plain(self, cipher: LattigoCipher, values: Numbers | float) -> LattigoCipher:
        self._check_room("multiply_plain", cipher)
        # Written at the scale of the prime that the rescaling divides by: the scale stays what it was.
        return self._with_plain(self._library.MulPlaintextNew, cipher, values, self._primes[cipher.level], True)

    def multiply(self, left: LattigoCipher, right: LattigoCipher, *, relinearise: bool = True) -> LattigoCipher:  # noqa: ARG002
        self._check_room("multiply", left)
        self._check_room("multiply", right)
        return self._held(self._library.MulRelinCiphertextNew(left.number, right.number), doubled=True)

    def relinearise(self, cipher: LattigoCipher) -> LattigoCipher:
        return cipher

    def rescale(self, cipher: LattigoCipher) -> LattigoCipher:
        if not cipher.doubled:
            raise BurnishError(at_step("rescale: nothing was multiplied since the last time"))
        copy = self._made(self._library.MulScalarIntNew, cipher, 1)  # the library's RescaleNew changes its argument
        self._library.Rescale(copy.number)
        copy.doubled = False
        return copy

    def drop(self, cipher: LattigoCipher, level: int) -> LattigoCipher:
        check_drop(cipher.level, level)
        while cipher.level > level:
            cipher = self.rescale(self.multiply_plain(cipher, 1.0))
        return cipher

    def rotate(self, cipher: LattigoCipher, steps: int) -> LattigoCipher:
        return self._made(self._library.RotateNew, cipher, steps % self._slots)

    def rotate_many(self, cipher: LattigoCipher, steps: Sequence[int]) -> list[LattigoCipher]:
        return [self.rotate(cipher, number) for number in steps]

    def save(self, cipher: LattigoCipher) -> bytes:  # noqa: ARG002
        raise BurnishError("lattigo: its ciphertexts cannot be written; the service's back end is `seal`")

    def load(self, data: bytes) -> LattigoCipher:  # noqa: ARG002
        raise BurnishError("lattigo: its ciphertexts cannot be read; the service's back end is `seal`")

    def prepare_bootstrap(self, slots: int) -> None:
        """Make the keys of a bootstrap of so many slots: a minute, and gigabytes at a secure ring."""
        self._library.NewBootstrapper([61, 61, 61, 61, 61], slots)

    def bootstrap(self, cipher: LattigoCipher, slots: int) -> LattigoCipher:
        """The same numbers at the highest level; after :meth:`prepare_bootstrap` for these slots."""
        return self._held(self._library.Bootstrap(cipher.number, slots), doubled=False)

    def sign_coefficients(self, degrees: Sequence[int], log_eps: int) -> list[list[float]]:
        """Lattigo's own minimax composite of these degrees for |x| >= 2^-log_eps, the last stage halved and raised by
        1/2: the Chebyshev coefficients of each stage."""
        flat = list(self._library.GenerateMinimaxSignCoeffs(list(degrees), 128, log_eps, 30, 0))
        stages = []
        for degree in degrees:
            stages.append([float(number) for number in flat[: degree + 1]])
            flat = flat[degree + 1 :]
        return stages

    def _check_room(self, verb: str, cipher: LattigoCipher) -> None:
        check_room(verb, cipher.level, doubled=cipher.doubled)

    def _held(self, number: int, doubled: bool) -> LattigoCipher:
        return LattigoCipher(self._library, number, doubled, self.parameters.scale_bits)

    def _made(self, verb: Any, cipher: LattigoCipher, *others: Any) -> LattigoCipher:
        numbers = [other.number if isinstance(other, LattigoCipher) else other for other in others]
        return self._held(verb(cipher.number, *numbers), cipher.doubled)

    def _with_plain(
        self, verb: Any, cipher: LattigoCipher, values: Numbers | float, scale: int, doubled: bool
    ) -> LattigoCipher:
        plain = self._encoded(as_slots(self.parameters, values), cipher.level, scale)
        made = self._held(verb(cipher.number, plain), doubled)
        self._library.DeletePlaintext(plain)
        return made

    def _encoded(self, values: Slots, level: int, scale: int) -> int:
        return int(self._library.Encode([float(number) for number in values], level, scale))
