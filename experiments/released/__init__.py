"""Released: the arithmetic of code that papers released, where it departs from their formulas."""
