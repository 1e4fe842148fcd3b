"""What the papers claim, and what the committed results say of it."""
