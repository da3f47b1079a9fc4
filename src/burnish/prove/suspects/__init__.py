"""What an audit may ask a suspect model, whatever it is: a local checkpoint, an ONNX file, a function, an endpoint."""

from burnish.prove.suspects.oracle import Oracle, open_suspect
from burnish.prove.suspects.settings import Answer, SuspectSettings

__all__ = ["Answer", "Oracle", "SuspectSettings", "open_suspect"]
