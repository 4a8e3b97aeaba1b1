"""How a mission is simulated: the types every simulation shares, and its policies without learning."""
