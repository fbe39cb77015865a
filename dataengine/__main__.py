"""`python -m dataengine` is the command `dataengine`."""

from dataengine.cli import main

main()
