"""Data of a DMT run: the pseudo label store, the dataset that reads it, samplers, transforms, the embedded demo set."""
