"""SCP81: remote administration over HTTP under PSK TLS (GlobalPlatform Card Specification, Amendment B), both ends."""
