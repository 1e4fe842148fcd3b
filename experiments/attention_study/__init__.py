"""Parts of the study of attention: its tasks, and what is measured of weights."""
