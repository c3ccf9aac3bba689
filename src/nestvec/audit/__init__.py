"""How small may vectors go, and where do they break?"""

from nestvec.audit.door import audit
from nestvec.audit.given import Stress, Texts

__all__ = ["Stress", "Texts", "audit"]
