"""A memory of synthetic images, so that a discriminator does not only see the newest (Shrivastava, CVPR 2017)."""

import torch
from torch import Tensor

from training.parallel import my_items, whole_batch


class ImagePool:
    """Keeps `size` images. Each new image is handed on, or, once the pool is full, half of the time exchanged for an older one.

    Of several processes each keeps the same pool of what all of them have made.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self.images: Tensor | None = None

    def exchange(self, images: Tensor) -> Tensor:
        """(N, ...) of new images to as many new or older ones; without a gradient."""
        if not self.size:
            return images.detach()
        return my_items(torch.stack([self._one(image) for image in whole_batch(images.detach())]))

    def _one(self, image: Tensor) -> Tensor:
        # The pool holds what the checkpoint can give back bit for bit: float32.
        new = image.float()[None]
        if self.images is None or len(self.images) < self.size:
            self.images = new.clone() if self.images is None else torch.cat([self.images.to(new.device), new])
            return image
        self.images = self.images.to(new.device)
        if torch.rand(()) < 0.5:
            return image
        place = int(torch.randint(self.size, ()))
        older = self.images[place].clone()
        self.images[place] = new[0]
        return older.to(image.dtype)

    def take(self, images: Tensor | None) -> None:
        """Go on with the images of a checkpoint; None: empty."""
        self.images = None if images is None else images.clone()
