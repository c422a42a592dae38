"""Losses of DMT."""
