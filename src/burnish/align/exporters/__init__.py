"""Probe sets and answers in the layouts of public benchmarks, so that their scorers can be run on them."""
