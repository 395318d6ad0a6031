"""Work that goes on after the call that began it, whatever becomes of the process."""
