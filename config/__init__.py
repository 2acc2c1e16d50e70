"""Configuration: kinds of values, settings, loader, the default file and presets."""
