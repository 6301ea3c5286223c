"""Recording GPU work as a CUDA graph: launched as a whole, where launching each kernel would take
longer than its work.

Not yet run on a GPU, and so off by default (CUDA_GRAPHS in main_HTNet.py).
"""

from contextlib import contextmanager

import torch

# device: its stream; one for all folds, since memory freed on one stream is not used again on
# another
STREAMS = {}


@contextmanager
def use_own_stream(device):
    """On a GPU, a stream beside the default one, on which work can be recorded; None on a CPU."""
    if device.type != "cuda":
        yield None
        return
    if device not in STREAMS:
        STREAMS[device] = torch.cuda.Stream(device)
    stream, callers = STREAMS[device], torch.cuda.current_stream(device)
    stream.wait_stream(callers)
    try:
        with torch.cuda.stream(stream):
            yield stream
    finally:
        callers.wait_stream(stream)


def record(work, stream):
    """Records work() -> a function that does it again, in the same memory and tensors."""
    graph = torch.cuda.CUDAGraph()
    # another thread draws weights
    with torch.cuda.graph(graph, stream=stream, capture_error_mode="thread_local"):
        outputs = work()

    def replay():
        graph.replay()
        return outputs

    return replay
