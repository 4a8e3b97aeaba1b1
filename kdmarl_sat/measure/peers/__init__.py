"""What it costs to train with us and with the programs of others; ``command`` is the door."""
