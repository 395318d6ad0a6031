"""Push notifications: what happens to a task is sent to the webhooks that asked for it."""
