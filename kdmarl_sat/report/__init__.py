"""What the reports of missions and games share: statistics, formats of numbers, style and rendering of figures."""
