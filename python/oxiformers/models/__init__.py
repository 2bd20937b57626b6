"""The architectures, one file each, and what they share: `base` (loading and saving) and `outputs`."""
