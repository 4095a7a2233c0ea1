"""How a box reaches the outside, and who decides what it may reach."""
