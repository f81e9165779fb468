"""The HTTP API and the webhook door, on TCP and on the Unix socket."""
