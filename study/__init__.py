"""The reproduction study: its trainings, its tables, its figures. The text is docs/reproduction.md."""
