"""The paper's benchmark: the method and its baselines on SMAC and MPE."""
