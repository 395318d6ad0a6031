"""The A2A agent: composition root, wires, service, runner, executor and stacks."""
