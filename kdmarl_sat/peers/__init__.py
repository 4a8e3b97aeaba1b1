"""What it costs to train with us and with the programs of others; kdmarl_sat/benchmark_peers.py is the command."""
