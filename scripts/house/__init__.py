"""House style, measured: docstrings, names, imports, sizes and words of a package, with limits.

    python -m scripts.house                    # the table for src/nestvec
    python -m scripts.house --check            # exit code 1 and a list of places over a limit
    python -m scripts.house --where door       # the places of a private word
    python -m scripts.house --src ../old/src/nestvec --json

The package is parsed and never imported. Each module of this one states the rules it measures by;
`words` has the lists and the limits.
"""
