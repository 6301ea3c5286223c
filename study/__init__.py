"""The reproduction study: its trainings, tables and figures. Its text: docs/reproduction.md."""
