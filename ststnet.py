"""STSTNet: shallow triple stream three-dimensional CNN (Liong et al., 2019), the baseline that HTNet builds on.

As in the public PyTorch port, with its parameter names: three parallel 3x3 convolutions with 3, 5 and 8 kernels, padded
by 2, each with ReLU, batch norm, 3x3 max pooling (stride 3, padding 1) and dropout; averaged by 2x2 pooling; one linear
layer. Errata: the paper's convolutions keep 28x28 and it counts 1,670 parameters; the port's give 30x30, and 1,683.

    STSTNet()(torch.zeros(2, 3, 28, 28)).shape     # [2, 3]
"""
import math

import torch
import torch.nn.functional as F
from torch import nn


class STSTNet(nn.Module):
    """Images [B, 3, 28, 28] -> logits [B, num_classes]."""

    def __init__(self, num_classes=3):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 3, 3, padding=2), nn.BatchNorm2d(3)
        self.conv2, self.bn2 = nn.Conv2d(3, 5, 3, padding=2), nn.BatchNorm2d(5)
        self.conv3, self.bn3 = nn.Conv2d(3, 8, 3, padding=2), nn.BatchNorm2d(8)
        self.fc = nn.Linear(16 * 5 * 5, num_classes)

    def forward(self, images):
        streams = ((self.conv1, self.bn1), (self.conv2, self.bn2), (self.conv3, self.bn3))
        maps = [F.max_pool2d(bn(F.relu(conv(images))), 3, stride=3, padding=1) for conv, bn in streams]
        x = torch.cat(maps, dim=1)  # [B, 16, 10, 10]
        if self.training:
            x = x * dropout_mask((len(x), 10, 10, 16), x).permute(0, 3, 1, 2)
        return self.fc(F.avg_pool2d(x, 2).flatten(1))


def dropout_mask(shape, like, generator=None):
    """Dropout with p = 0.5 as a factor [shape], 0 or 2, in the dtype and on the device of `like`.

    Drawn apart from `nn.Dropout`, so that folds trained together can draw theirs from generators of their own and get
    what each would get alone; and from random bits, eight factors a byte, since PyTorch's bernoulli takes ten times as
    long: as long as the rest of the small maps' work.
    """
    count = math.prod(shape)
    octets = torch.empty(-(-count // 8), 1, dtype=torch.uint8, device=like.device).random_(0, 256, generator=generator)
    bits = octets >> torch.arange(8, dtype=torch.uint8, device=like.device) & 1
    return bits.flatten()[:count].view(shape).to(like.dtype).mul_(2)
