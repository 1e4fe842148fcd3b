"""Studies of mutual information: data of known information, and what estimators make of it."""
