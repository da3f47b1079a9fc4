"""Evidence: one folder a paper. The claim is written down before the run, baselines get the same data, compute and
tuning."""
