"""Study of training-data provenance (TrainProVe)."""
