"""What the exit codes mean."""

FAILED = 1
USAGE = 2
UNREACHABLE = 3
NOT_COMPLETED = 4
