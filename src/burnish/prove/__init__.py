"""Where did a suspect model's training data come from? Two verifiers, calibrated evidence, no access beyond answers."""
