"""What the onboard executor is meant to show, measured part by part; kdmarl_sat/benchmark_onboard.py is the command."""
