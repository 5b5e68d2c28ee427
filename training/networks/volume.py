"""3D U-Nets on patches: MONAI's, with a mean and a log-variance for every voxel."""

from typing import Literal

import torch
from monai.networks.nets import BasicUNet, DynUNet
from pydantic import Field, model_validator
from torch import Tensor, nn

from training.config import Settings
from training.networks.parts import Guided


class VolumeNetSettings(Settings):
    """Kind and size of the network."""

    kind: Literal["basic", "nnunet"] = "basic"
    """`basic`: MONAI's BasicUNet, two convolutions at each of five depths. `nnunet`: MONAI's DynUNet, the network of nnU-Net:
    strided convolutions instead of pooling; for GPUs."""
    features: tuple[int, ...] = Field((16, 16, 32, 64, 128, 16), min_length=3)
    """`basic`: features at five depths, then those of the last, full layer. `nnunet`: features at each depth, any number."""
    norm: Literal["batch", "instance"] = "batch"
    """`batch` folds into the convolution, which is three times faster on CPUs; `instance` is what nnU-Net has."""
    size: tuple[int, int, int] = (96, 96, 96)
    """Size of a patch in voxels, (z, y, x); multiples of 16, or for `nnunet` of 2 to the number of halvings."""

    @model_validator(mode="after")
    def _halves(self) -> "VolumeNetSettings":
        if any(side % self.multiple for side in self.size):
            raise ValueError(f"the sides of `size` must be multiples of {self.multiple}")
        return self

    @property
    def multiple(self) -> int:
        """The sides of a patch must be multiples of this."""
        return 16 if self.kind == "basic" else 2 ** (len(self.features) - 1)


class VolumeNet(nn.Module):
    """Input (N, inputs, D, H, W), output (N, 2, D, H, W): the mean and the logarithm of the variance."""

    def __init__(self, settings: VolumeNetSettings, tissues: int = 0, floor: float = 0.0, inputs: int = 1) -> None:
        """`tissues`: classes of the auxiliary output, 0: none; `floor`: the lowest value that there can be."""
        super().__init__()
        self.settings, self.tissues, self.floor = settings, tissues, floor
        norm = ("batch", {"momentum": 0.03}) if settings.norm == "batch" else ("instance", {"affine": True})
        if settings.kind == "basic":
            self.unet: nn.Module = BasicUNet(
                spatial_dims=3,
                in_channels=inputs,
                out_channels=2 + tissues,
                features=settings.features,
                act=("LeakyReLU", {"negative_slope": 0.1, "inplace": True}),
                norm=norm,
            )
        else:
            depths = len(settings.features)
            self.unet = DynUNet(
                spatial_dims=3,
                in_channels=inputs,
                out_channels=2 + tissues,
                kernel_size=[3] * depths,
                strides=[1, *[2] * (depths - 1)],
                upsample_kernel_size=[2] * (depths - 1),
                filters=settings.features,
                norm_name=norm,
            )

    def forward(self, patch: Tensor) -> Tensor | Guided:
        """See the class; in training with tissues, their logits beside it at full resolution."""
        features = self.unet(patch)
        output = features[:, :2].float()
        if self.training:
            return Guided(output, features[:, 2:]) if self.tissues else output
        # No signal is lower. Cut here, not by the declared operations: those would call a value that was cut certain.
        return torch.cat([output[:, :1].clamp_min(self.floor), output[:, 1:]], 1)
