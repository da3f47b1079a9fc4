"""One transformer block end to end under encryption: the second, deeper way to deploy, to measure what it costs."""
