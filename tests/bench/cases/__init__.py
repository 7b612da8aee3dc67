"""Cases that `make compare` tries with Google's clients on ours and on other emulators."""
