"""Training: from bars to features, labels, samples, a fitted network and its test."""
