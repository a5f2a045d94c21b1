"""Published checkpoints read into our models. One file per family; :func:`from_published` is the way in."""

from mvector.zoo.published import FAMILIES, Published, from_published, read_checkpoint

__all__ = ["FAMILIES", "Published", "from_published", "read_checkpoint"]
