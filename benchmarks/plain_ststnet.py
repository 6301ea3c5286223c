"""STSTNet stream by stream, as the port computes it, for tests and timings."""

import torch
import torch.nn.functional as F
from torch import nn


class PlainSTSTNet(nn.Module):
    """Images [B, 3, 28, 28] -> logits [B, 3]; parameter names as in the port."""

    def __init__(self, dropout=0.5):
        super().__init__()
        for stream, kernels in ((1, 3), (2, 5), (3, 8)):
            setattr(self, f"conv{stream}", nn.Conv2d(3, kernels, kernel_size=3, padding=2))
            setattr(self, f"bn{stream}", nn.BatchNorm2d(kernels))
        self.pool, self.average = nn.MaxPool2d(3, 3, padding=1), nn.AvgPool2d(2)
        self.dropout, self.fc = nn.Dropout(dropout), nn.Linear(400, 3)

    def forward(self, x):
        streams = ((self.conv1, self.bn1), (self.conv2, self.bn2), (self.conv3, self.bn3))
        maps = [self.pool(bn(F.relu(conv(x)))) for conv, bn in streams]
        return self.fc(self.average(self.dropout(torch.cat(maps, 1))).flatten(1))
