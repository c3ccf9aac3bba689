"""`python -m nestvec.cli`, for where the `nestvec` script is not on the path."""

from nestvec.cli import main

main()
