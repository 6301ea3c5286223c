"""Recognition of clips: from frames to a row, and the page that shows it."""
