"""What turns pictures into patches and back: pixels themselves, or the latents of one of diffusers' autoencoders."""

from burnish.generate.codecs.face import Codec, from_bytes, to_bytes
from burnish.generate.codecs.opening import CodecSettings, open_codec

__all__ = ["Codec", "CodecSettings", "from_bytes", "open_codec", "to_bytes"]
