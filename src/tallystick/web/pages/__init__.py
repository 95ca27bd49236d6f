"""The pages of the standalone service, one module a place."""
