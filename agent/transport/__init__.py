"""What stands between the network and what is served: small pieces of ASGI, and TLS."""
