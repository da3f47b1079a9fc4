"""The two sides of OpenFHE: a client with the secret key, an evaluator with one client's public keys."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from burnish.core.errors import BurnishError, UserError
from burnish.private.encryption.clear import check_drop, check_room
from burnish.private.encryption.openfhe import KEYS, TAG, Chain, OpenfheCipher, chain_of
from burnish.private.encryption.parameters import Parameters
from burnish.private.encryption.sealed_streams import pack, pack_secret, unpack, unpack_secret
from burnish.private.encryption.slots import as_slots
from burnish.private.encryption.steps import at_step

Slots = Float[np.ndarray, " slots"]
Numbers = Float[np.ndarray, " numbers"]


class OpenfheEvaluator:
    """Computes on ciphertexts with a client's public keys.

    Args:
        parameters: what the keys were made for.
        keys: what :meth:`OpenfheClient.evaluation_keys` made.

    Raises:
        UserError: OpenFHE does not load, or keys of other parameters, damaged, or not keys at all.
    """

    def __init__(self, parameters: Parameters, keys: bytes) -> None:
        self.parameters = parameters
        self._chain = chain = chain_of(parameters)
        self._api, self._context = chain.api, chain.context
        found = unpack(keys, {"parameters", "relinearise", "rotate"}, "keys")
        if found["parameters"] != parameters.to_json():
            raise UserError("keys: made for other parameters; make them again for these")
        rotate = found["rotate"]
        if not isinstance(found["relinearise"], bytes) or not isinstance(rotate, list):
            raise UserError("keys: not what this version writes; make it again")
        self._relinearise = None
        if found["relinearise"]:
            whole = chain.key_frame(chain.relinearisation_key()).filled(found["relinearise"], "relinearisation key")
            self._relinearise = self._api.DeserializeEvalKeyString(whole, self._api.BINARY)
        self._rotations: dict[int, Any] = {}
        for each in rotate:
            if not isinstance(each, list) or [type(part) for part in each] != [int, bytes]:
                raise UserError("keys: not what this version writes; make it again")
            steps, words = each
            if not 0 < steps < parameters.slots or steps in self._rotations:
                raise UserError(f"rotation keys: one by {steps}; make them again")
            whole = chain.key_frame(chain.rotation_key(chain.element(steps))).filled(words, "rotation keys")
            self._rotations[steps] = self._api.DeserializeEvalKeyMapString(whole, self._api.BINARY)

    def lacking(self, rotations: Sequence[int]) -> list[str]:
        absent = [] if self._relinearise is not None else ["relinearisation"]
        steps = sorted({number % self.parameters.slots for number in rotations} - {0})
        return absent + [f"a rotation by {number}" for number in steps if number not in self._rotations]

    def add(self, left: OpenfheCipher, right: OpenfheCipher) -> OpenfheCipher:
        return self._sum(self._context.EvalAdd, left, right)

    def subtract(self, left: OpenfheCipher, right: OpenfheCipher) -> OpenfheCipher:
        return self._sum(self._context.EvalSub, left, right)

    def _sum(self, verb: Any, left: OpenfheCipher, right: OpenfheCipher) -> OpenfheCipher:
        level = min(left.level, right.level)
        left, right = self.drop(left, level), self.drop(right, level)
        if not math.isclose(left.scale, right.scale, rel_tol=1e-9):
            raise BurnishError(at_step("add: one side was multiplied and not rescaled, the other was not"))
        return self._made(verb, level, left.scale, left.inner, right.inner)

    def negate(self, cipher: OpenfheCipher) -> OpenfheCipher:
        return self._made(self._context.EvalNegate, cipher.level, cipher.scale, cipher.inner)

    def add_plain(self, cipher: OpenfheCipher, values: Numbers | float) -> OpenfheCipher:
        degree = 2 if self._doubled(cipher) else 1
        plain: Any
        if np.ndim(values):
            plain = self._chain.encoded(np.asarray(values), cipher.level, cipher.scale, degree)
        else:
            as_slots(self.parameters, values)
            plain = float(values) * (cipher.scale / 2.0 ** (degree * self.parameters.scale_bits))
        return self._made(self._context.EvalAdd, cipher.level, cipher.scale, cipher.inner, plain)

    def multiply_plain(self, cipher: OpenfheCipher, values: Numbers | float) -> OpenfheCipher:
        self._check_room("multiply_plain", cipher)
        return self._times(cipher, values, cipher.scale)

    def _times(self, cipher: OpenfheCipher, values: Numbers | float, scale: float) -> OpenfheCipher:
        """A product with numbers that are written at a scale of their own."""
        numbers = as_slots(self.parameters, values)
        # The largest coefficient is at least this: below one half, all would be rounded to zero.
        largest = np.abs(numbers[0]) if not np.ndim(values) else np.linalg.norm(numbers) / (2**0.5 * numbers.size)
        if largest * scale < 0.5:
            raise BurnishError(at_step("multiply_plain: every number is zero: the result would hide nothing"))
        plain: Any = float(numbers[0]) * (scale / 2.0**self.parameters.scale_bits)
        if np.ndim(values):
            plain = self._chain.encoded(numbers, cipher.level, scale)
        return self._made(self._context.EvalMult, cipher.level, cipher.scale * scale, cipher.inner, plain)

    def multiply(self, left: OpenfheCipher, right: OpenfheCipher, *, relinearise: bool = True) -> OpenfheCipher:
        level = min(left.level, right.level)
        left, right = self.drop(left, level), self.drop(right, level)
        if left.parts != 2 or right.parts != 2:
            raise BurnishError(at_step("multiply: a product was not relinearised; relinearise it first"))
        self._check_room("multiply", left)
        self._check_room("multiply", right)
        product = self._made(self._context.EvalMultNoRelin, level, left.scale * right.scale, left.inner, right.inner)
        return self.relinearise(product) if relinearise else product

    def relinearise(self, cipher: OpenfheCipher) -> OpenfheCipher:
        if cipher.parts == 2:
            return cipher
        if self._relinearise is None:
            raise BurnishError(at_step("relinearise: there is no key for it"))
        with KEYS:
            self._api.ClearEvalMultKeys()
            self._context.InsertEvalMultKey([self._relinearise], TAG)
            return self._made(self._context.Relinearize, cipher.level, cipher.scale, cipher.inner)

    def rescale(self, cipher: OpenfheCipher) -> OpenfheCipher:
        if not self._doubled(cipher):
            raise BurnishError(at_step("rescale: nothing was multiplied since the last time"))
        level = cipher.level - 1
        return self._made(self._context.Rescale, level, self._chain.scales[level], cipher.inner)

    def drop(self, cipher: OpenfheCipher, level: int) -> OpenfheCipher:
        check_drop(cipher.level, level)
        if level == cipher.level:
            return cipher
        if self._doubled(cipher):
            raise BurnishError(at_step("drop: rescale the product first"))
        scales, target = self._chain.scales, level + 1
        if cipher.level > target:
            many = cipher.level - target
            cipher = self._made(self._context.LevelReduce, target, cipher.scale, cipher.inner, None, many)
        # Times one, written at the scale that lands on the new level's own: that times the prime, over what it has.
        one = self._times(cipher, 1.0, scales[target] ** 2 / cipher.scale)
        return self._made(self._context.Rescale, level, scales[level], one.inner)

    def rotate(self, cipher: OpenfheCipher, steps: int) -> OpenfheCipher:
        if cipher.parts != 2:
            raise BurnishError(at_step("rotate: a product was not relinearised; relinearise it first"))
        steps %= self.parameters.slots
        if steps == 0:
            return cipher
        if steps not in self._rotations:
            raise BurnishError(at_step(f"rotate: there is no key for a rotation by {steps}"))
        element, key = self._chain.element(steps), self._rotations[steps]
        return self._made(self._context.EvalAutomorphism, cipher.level, cipher.scale, cipher.inner, element, key)

    def rotate_many(self, cipher: OpenfheCipher, steps: Sequence[int]) -> list[OpenfheCipher]:
        return [self.rotate(cipher, number) for number in steps]

    def save(self, cipher: OpenfheCipher) -> bytes:
        return self._chain.save(cipher)

    def load(self, data: bytes) -> OpenfheCipher:
        return self._chain.load(data)

    def _doubled(self, cipher: OpenfheCipher) -> bool:
        return self._chain.doubled(cipher)

    def _check_room(self, verb: str, cipher: OpenfheCipher) -> None:
        check_room(verb, cipher.level, doubled=self._doubled(cipher))

    def _made(self, verb: Any, level: int, scale: float, *arguments: Any) -> OpenfheCipher:
        try:
            return OpenfheCipher(verb(*arguments), level, scale)
        except (RuntimeError, ValueError) as error:
            raise BurnishError(at_step(f"openfhe: {' '.join(str(error).split())}")) from None


class OpenfheClient:
    """Holds the secret key; makes the public ones.

    Args:
        parameters: to encrypt with.
        chain: of these parameters.
        secret: OpenFHE's secret key; made anew by :meth:`make`.
    """

    def __init__(self, parameters: Parameters, chain: Chain, secret: Any) -> None:
        self.parameters = parameters
        self._chain, self._secret = chain, secret

    @classmethod
    def make(cls, parameters: Parameters) -> OpenfheClient:
        """With a new secret key.

        Raises:
            UserError: OpenFHE is not installed, or does not load.
        """
        chain = chain_of(parameters)
        return cls(parameters, chain, chain.context.KeyGen().secretKey)

    @classmethod
    def from_secret(cls, secret: bytes) -> OpenfheClient:
        """What :meth:`save_secret` wrote.

        Raises:
            UserError: not a secret key, or damaged.
        """
        parameters, key = unpack_secret(secret)
        chain = chain_of(parameters)
        return cls(parameters, chain, chain.secret_from(key))

    def encrypt(self, values: Numbers, level: int | None = None) -> OpenfheCipher:
        level = self.parameters.levels if level is None else level
        check_drop(self.parameters.levels, level)
        return self._chain.encrypt(self._secret, values, level)

    def decrypt(self, cipher: OpenfheCipher) -> Slots:
        believed = 2.0 ** (self.parameters.scale_bits * (2 if self._chain.doubled(cipher) else 1))
        plain = self._chain.context.Decrypt(self._secret, cipher.inner)
        return np.asarray(plain.GetCKKSPackedValueArray()).real * (believed / cipher.scale)

    def evaluation_keys(self, rotations: Sequence[int]) -> bytes:
        chain = self._chain
        steps = sorted({number % self.parameters.slots for number in rotations} - {0})
        return pack(
            {
                "parameters": self.parameters.to_json(),
                "relinearise": chain.key_frame(chain.relinearisation_key(self._secret)).narrow(),
                "rotate": [
                    [number, chain.key_frame(chain.rotation_key(chain.element(number), self._secret)).narrow()]
                    for number in steps
                ],
            }
        )

    def save(self, cipher: OpenfheCipher) -> bytes:
        return self._chain.save(cipher)

    def load(self, data: bytes) -> OpenfheCipher:
        return self._chain.load(data)

    def save_secret(self) -> bytes:
        return pack_secret(self.parameters, self._chain.frame(self._secret).narrow())
