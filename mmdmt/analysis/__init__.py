"""What a run has left on disk, looked at: how good its pseudo labels and weights were."""
