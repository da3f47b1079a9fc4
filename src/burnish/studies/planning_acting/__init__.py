"""Study of parallelized planning-acting."""
