"""What the tests from outside share. Nothing here knows the server's code: only its sockets, files and words."""
