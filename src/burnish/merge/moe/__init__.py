"""Dense models as the experts of one mixture: mergekit-moe's YAML in, a Hugging Face folder out."""
