"""From captures and measured surfaces to knowledge about the camera that was really made."""
