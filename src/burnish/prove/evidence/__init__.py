"""Commit before an audit, keep what it found, and let anyone check both."""

from burnish.prove.evidence.commitment import check_commitment, read_commitment, write_commitment
from burnish.prove.evidence.folder import seal, write_evidence
from burnish.prove.evidence.verification import Verification, verify

__all__ = [
    "Verification",
    "check_commitment",
    "read_commitment",
    "seal",
    "verify",
    "write_commitment",
    "write_evidence",
]
