"""What the onboard executor is meant to show, measured part by part; ``command`` is the door."""
