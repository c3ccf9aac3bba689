"""Audits: by how much vectors can be compressed, and where the smaller ones fail."""

from nestvec.auditing.api import audit
from nestvec.auditing.options import AuditTexts, StressOptions
from nestvec.deprecation import renamed_attributes

__all__ = ["AuditTexts", "StressOptions", "audit"]

__getattr__ = renamed_attributes(
    __name__, {"Texts": ("AuditTexts", AuditTexts), "Stress": ("StressOptions", StressOptions)}
)
