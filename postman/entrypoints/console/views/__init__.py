"""What the pages show: each module gathers the values of one kind of page."""
