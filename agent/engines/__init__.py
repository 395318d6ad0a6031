"""What answers each operation of Llama Stack's experimental API in this deployment."""
