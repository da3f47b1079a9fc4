"""The spine: recipes, runs, checkpoints, models, metrics, executors, reports. Knows no method."""
