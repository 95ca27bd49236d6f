"""Real crashes of real processes. TALLYSTICK_ROUGH_TIMES says how often each happens (3, or 50 for a long run)."""
