"""The tokenizers of model families: the files they are read from, their special tokens and settings."""
