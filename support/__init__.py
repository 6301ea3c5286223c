"""What keeps a run safe and its commands plain."""

from support.files import BadInput

__all__ = ["BadInput"]
