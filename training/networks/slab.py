"""A 2.5D U-Net: a few neighbouring slices in, the middle ones of the other contrast out, each with its uncertainty."""

import torch
from monai.networks.nets import BasicUNet
from pydantic import model_validator
from torch import Tensor, nn
from torch.nn import functional

from training.config import Settings
from training.networks.parts import Finish, Guided, check_surrounded


class SlabNetSettings(Settings):
    """Size of the network. Weights are at most 12 MB: some 2.9 million parameters."""

    context: int = 9
    """Slices in."""
    outputs: int = 5
    """Slices out, in the middle of those in."""
    features: tuple[int, int, int, int, int, int] = (40, 40, 80, 160, 256, 40)
    """MONAI BasicUNet's features at five depths, then those of its last, full layer."""
    detail: int = 8
    """Feature maps that the U-Net hands to the full-resolution end."""
    head: int = 16
    """Feature maps within the full-resolution end."""
    sharpen: float = 0.0
    """How much each slice is sharpened in plane after training, see `parts.Finish`. Chosen on the training people so that
    steps within slices and from slice to slice are in the same proportion as on real scans."""

    @model_validator(mode="after")
    def _neighbours(self) -> "SlabNetSettings":
        check_surrounded(self.context, self.outputs)
        return self


class SlabNet(nn.Module):
    """Input (N, context, H, W), H and W multiples of 32; output (N, 2 * outputs, H, W).

    Output channels 0..outputs-1 are the slices, the rest the logarithm of their variance. The U-Net works at half the
    resolution (four pixels become four channels), where it is four times cheaper; a small end at full resolution sees its
    features next to the input slices, so that fine detail passes by and the blocks of two leave no pattern. The
    log-variance is smoothed by (1 2 1)/4 along both axes, which takes away what pattern of two is left in it.
    """

    def __init__(self, settings: SlabNetSettings, tissues: int = 0, floor: float = 0.0) -> None:
        """`tissues`: classes of the auxiliary output, 0: none; `floor`: the lowest value that there can be."""
        super().__init__()
        self.settings, self.tissues, self.floor = settings, tissues, floor
        activation = ("LeakyReLU", {"negative_slope": 0.1, "inplace": True})
        self.unet = BasicUNet(
            spatial_dims=2,
            in_channels=4 * settings.context,
            out_channels=4 * settings.detail + tissues,
            features=settings.features,
            act=activation,
            norm=("batch", {"momentum": 0.03}),  # folds into the convolution; instance norm is three times slower
        )
        self.end = nn.Sequential(
            nn.Conv2d(settings.detail + settings.outputs + 2, settings.head, 3, padding=1),
            nn.LeakyReLU(0.1, inplace=True),
            nn.Conv2d(settings.head, 2 * settings.outputs, 3, padding=1),
        )
        self.finish = Finish(settings.outputs)

    def forward(self, slab: Tensor) -> Tensor | Guided:
        """(N, context, H, W) to (N, 2 * outputs, H, W); in training with tissues, these beside it at half the resolution."""
        coarse = self.unet(functional.pixel_unshuffle(slab, 2))
        coarse, tissue = coarse[:, : 4 * self.settings.detail], coarse[:, 4 * self.settings.detail :]
        detail = functional.pixel_shuffle(coarse, 2)
        margin = (self.settings.context - self.settings.outputs) // 2 - 1
        near = slab[:, margin : self.settings.context - margin]  # the slices asked for and one on either side
        # The end works in full precision: an image has more grey values than bfloat16 can tell apart.
        with torch.autocast(slab.device.type, enabled=False):
            mean, log_variance = self.end(torch.cat([detail.float(), near.float()], 1)).chunk(2, 1)
            if not self.training:
                # No signal is lower. Cut here, not by the declared operations: those would call a value that was cut
                # certain, and leave dark specks in the map of deviations.
                mean = self.finish(mean, self.settings.sharpen).clamp_min(self.floor)
            output: Tensor = torch.cat([mean, self.finish.smooth(log_variance)], 1)
        return Guided(output, tissue) if self.training and self.tissues else output
