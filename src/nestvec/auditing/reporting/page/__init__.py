"""Report page: one HTML file that needs no network."""

from nestvec.auditing.reporting.page.page import render, save_html

__all__ = ["render", "save_html"]
