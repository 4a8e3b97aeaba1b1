"""The benchmark's games: Hydra's root for runs whose scenario is a game (``schema.py``), with its packaged YAML."""
