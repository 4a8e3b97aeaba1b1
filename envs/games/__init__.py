"""Games of the multi-agent benchmarks (SMAC, MPE, any PettingZoo ParallelEnv), many at once."""
