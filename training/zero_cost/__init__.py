"""Zero-cost proxies: what a network that was never trained says of how well it would train."""
