"""How small may vectors go, and where do they break?"""

from nestvec.auditing.api import audit
from nestvec.auditing.options import Stress, Texts

__all__ = ["Stress", "Texts", "audit"]
