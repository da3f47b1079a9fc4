"""A world of small pictures that are drawn from prompts, each with a plan, and judged exactly. See ``world``."""
