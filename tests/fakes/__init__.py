"""Services that the server talks to, written to their documents alone."""
