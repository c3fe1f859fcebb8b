"""What operators do, by a command or in the console: each act once, without printing. Each is told who does it."""
