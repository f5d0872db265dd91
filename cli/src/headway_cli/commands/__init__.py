"""One module for each command or family of commands; nothing heavy is imported at their top."""
