"""What terminals and centre say over the message broker: health and news, never money."""
