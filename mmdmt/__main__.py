"""``python -m mmdmt`` is the command ``mmdmt``; so is ``torchrun -m mmdmt``."""

from mmdmt.commands import main

main()
