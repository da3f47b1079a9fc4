"""Training a unified model: samples, the tasks' rows, losses, the moving average and the steps."""
