"""STSTNet: shallow triple stream three-dimensional CNN (Liong et al., 2019), the baseline that
HTNet builds on.

As in the public PyTorch port, with its parameter names: three parallel 3x3 convolutions with 3, 5
and 8 kernels, padded by 2, each with ReLU, batch norm, 3x3 max pooling (stride 3, padding 1) and
dropout; averaged by 2x2 pooling; one linear layer. Errata: the paper's convolutions keep 28x28 and
it counts 1,670 parameters; the port's give 30x30, and 1,683.

    STSTNet()(torch.zeros(2, 3, 28, 28)).shape     # [2, 3]
"""

import torch
import torch.nn.functional as F
from torch import nn

STREAMS = {1: 3, 2: 5, 3: 8}  # stream: its number of kernels


class STSTNet(nn.Module):
    """Images [B, 3, 28, 28] -> logits [B, num_classes].

    The three streams are computed as one of 16 channels: the same sums, in three quarters of the
    time on a CPU.
    """

    def __init__(self, num_classes=3):
        super().__init__()
        for stream, kernels in STREAMS.items():
            setattr(self, f"conv{stream}", nn.Conv2d(3, kernels, 3, padding=2))
            setattr(self, f"bn{stream}", nn.BatchNorm2d(kernels))
        self.fc = nn.Linear(16 * 5 * 5, num_classes)

    def forward(self, images):
        x = images.contiguous(memory_format=torch.channels_last)  # pooling is faster so
        x = F.conv2d(x, self.join("conv", "weight"), self.join("conv", "bias"), padding=2)
        x = F.relu_(x)  # [B, 16, 30, 30]
        x = F.max_pool2d(self.normalize(x), 3, stride=3, padding=1)  # [B, 16, 10, 10]
        x = F.avg_pool2d(F.dropout(x, 0.5, self.training), 2)  # [B, 16, 5, 5]
        with torch.autocast(x.device.type, enabled=False):  # bf16 logits would often be equal
            return self.fc(x.flatten(1).to(self.fc.weight.dtype))

    def join(self, layer, tensor):
        """A tensor of the three streams' layers ("conv", "weight") as one, [3 + 5 + 8, ...]."""
        return torch.cat([getattr(getattr(self, f"{layer}{stream}"), tensor) for stream in STREAMS])

    def normalize(self, x):
        """The three batch norms as one; in training their running averages go on."""
        mean, variance = self.join("bn", "running_mean"), self.join("bn", "running_var")
        x = F.batch_norm(
            x, mean, variance, self.join("bn", "weight"), self.join("bn", "bias"), self.training
        )
        if self.training:
            kernels = tuple(STREAMS.values())
            for stream, new_mean, new_variance in zip(
                STREAMS, mean.split(kernels), variance.split(kernels)
            ):
                norm = getattr(self, f"bn{stream}")
                norm.running_mean.copy_(new_mean)
                norm.running_var.copy_(new_variance)
                norm.num_batches_tracked += 1
        return x
