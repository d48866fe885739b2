"""Arrays and variants in, plain numbers with their intervals out."""
