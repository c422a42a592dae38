"""Analyzes the files of a run: how good its pseudo labels and weights were."""
