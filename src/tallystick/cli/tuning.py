"""What a process that does nothing but serve does to itself. A library must not do this to its host."""

import gc

_YOUNG, _MIDDLE, _OLD = 50_000, 20, 100


def calm_garbage_collection() -> None:
    """Look for reference cycles less often.

    Remembered accounts are many small objects without a cycle among them; at Python's own thresholds,
    walking through them again and again takes a tenth of the time of a spend.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG, _MIDDLE, _OLD)
