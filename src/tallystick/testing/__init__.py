"""For tests of applications that are built on Tallystick: a rough day, simulated, the same again for the same seed."""

from tallystick.testing.faults import FaultRates
from tallystick.testing.simulation import InvariantBroken, LoopIsRunning, Simulated, simulate
from tallystick.testing.virtual import VirtualClock

__all__ = ["FaultRates", "InvariantBroken", "LoopIsRunning", "Simulated", "VirtualClock", "simulate"]
