"""What wins back the accuracy that plain ranges lose, in order of cost."""
