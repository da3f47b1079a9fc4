"""What turns pictures into patches and back: pixels themselves, or latents of one of diffusers' autoencoders."""
