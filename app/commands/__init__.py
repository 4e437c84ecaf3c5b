"""The commands, one file for what one person does; heavy modules are imported only when a command runs."""
