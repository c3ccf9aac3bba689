"""How small may vectors go, and where do they break?"""
