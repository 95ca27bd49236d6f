"""The `tallystick` command. Each command of it is one module in this room."""

from tallystick.cli.main import app

__all__ = ["app"]
