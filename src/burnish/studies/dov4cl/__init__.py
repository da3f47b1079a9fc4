"""Study of dataset ownership verification (DOV4CL)."""
