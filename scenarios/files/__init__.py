"""Files of an operator's: element sets, targets, ground stations."""
