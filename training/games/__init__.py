"""Learning on the synchronous games of ``envs.games``: recurrent MAPPO, QMIX, VDN and KD-MARL, all agents batched."""
