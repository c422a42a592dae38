"""Comparing methods over seeds and data sets, by a plan."""
