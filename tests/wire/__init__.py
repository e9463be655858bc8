"""Scripts of bytes with what the client and the server must see, for the balancer and for other proxies."""
