"""How small may vectors go, and where do they break?"""

from nestvec.audit.door import audit

__all__ = ["audit"]
