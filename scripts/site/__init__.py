"""The documentation site: stage its pages, build it, check what came out.

python -m scripts.site [build | serve]
"""
