"""Who calls: one file per module of LCS's `authentication.module`."""
