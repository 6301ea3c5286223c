"""The processes that torchrun starts, called ranks. Without torchrun there is one, and it is the
first.

Rank and number come from the process group, not from environment variables: other launchers set
those, too.
"""

from contextlib import contextmanager
from datetime import timedelta

from torch import distributed


@contextmanager
def join_ranks():
    """Joins the process group of torchrun, where it started this process; leaves it at the end."""
    if not (distributed.is_available() and distributed.is_torchelastic_launched()):
        yield
        return
    # a rank may wait for another's folds
    distributed.init_process_group("gloo", timeout=timedelta(days=30))
    try:
        yield
    finally:
        distributed.destroy_process_group()


def is_joined():
    return distributed.is_available() and distributed.is_initialized()


def rank():
    """This process's number, from 0."""
    return distributed.get_rank() if is_joined() else 0


def rank_on_machine():
    """This process's number among those on this machine: the GPU that it takes."""
    return distributed.get_node_local_rank(0) if is_joined() else 0


def count_ranks():
    return distributed.get_world_size() if is_joined() else 1


def is_first():
    return rank() == 0


def say(text):
    """Prints on the first rank only."""
    if is_first():
        print(text, flush=True)


def wait_for_all():
    """Returns when every rank has come here."""
    if is_joined():
        distributed.barrier()


def go_first(work):
    """Calls work() on the first rank, then on the others -> its result.

    What the first rank refuses (an exception) it raises; the others then end with exit status 2,
    silently.
    """
    result, problem = None, None
    if is_first():
        try:
            result = work()
        except Exception as error:
            problem = error
    if is_joined():
        refused = [problem is not None]
        distributed.broadcast_object_list(refused)
        if refused[0] and not is_first():
            raise SystemExit(2)
    if problem:
        raise problem
    return result if is_first() else work()
