"""What every architecture is wired from."""
