"""What is claimed about speed, size and memory, and the commands that measure it again."""
