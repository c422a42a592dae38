"""Compares methods over seeds and data sets, as a plan defines."""
